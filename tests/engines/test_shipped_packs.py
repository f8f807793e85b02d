"""The packs that ship hold on this processor: their self-test vectors were computed on another one, in bf16."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nla_eval.engines.base import CaptureRequest
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.self_test import read_known
from nla_eval.errors import MissingExtraError
from nla_eval.models.pack import PACKS, load_pack
from nla_eval.models.scores import normalised
from nla_eval.models.target import Target, load_target
from nla_eval.suite import get_suite

pytestmark = [pytest.mark.full, pytest.mark.pack]

BF16 = 0.002
"""In mse_nrm. Float32 is 0.0004 from the stored vectors; the self-test allows 0.02; another layer gives over 0.3."""


NAMES = sorted(folder.name for folder in PACKS.iterdir() if folder.is_dir())


def default_target() -> Target:
    try:
        return load_target()
    except MissingExtraError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest) -> TransformersEngine:
    return TransformersEngine(default_target(), load_pack(request.param), EngineConfig(dtype=torch.float32))


def test_the_default_target_converted_here_has_the_hash_that_packs_and_shipped_answers_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path))
    made = default_target()
    assert made.path.is_relative_to(tmp_path)
    answers = get_suite("blackmail").answers
    assert answers is not None
    named = {json.loads(line)["target_hash"] for line in answers.read_text(encoding="utf-8").splitlines()}
    assert {made.hash} == named == {load_pack(name).av.target_hash for name in NAMES}


def test_the_target_gives_the_vectors_the_pack_carries(engine: TransformersEngine) -> None:
    known = read_known(engine.pack)
    assert known is not None
    requests = [CaptureRequest(str(i), ids, known.positions[i : i + 1]) for i, ids in enumerate(known.token_ids)]
    found = {c.key: c.activations[0] for c in engine.capture(requests)}
    captured = np.stack([found[r.key] for r in requests])
    error = 2.0 * (1.0 - np.einsum("nd,nd->n", normalised(known.vectors), normalised(captured)))
    assert error.max() < BF16


def test_the_self_test_passes_far_from_its_limit(engine: TransformersEngine) -> None:
    """Greedy words may part at near ties, so the count of vectors found may differ by a few: 18 and 17 of 20 where this
    was written, and 5 pass."""
    found = engine.self_test().removeprefix("self-test passed: ")
    assert int(found.partition("/")[0]) >= 10, found
