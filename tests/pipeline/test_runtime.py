"""Claims about one target's weights in a process."""

from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest

from nla_eval.engines.base import CaptureRequest
from nla_eval.engines.generation import GenerateRequest
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.pipeline.runtime import Runtime
from tests.engines.tiny_pack import write_tiny_pack


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Of a tiny target with a tiny pack, whose random AR does not pass a self-test."""
    monkeypatch.setattr(TransformersEngine, "self_test", lambda engine, **_: "not run")
    write_tiny_pack(tmp_path)
    return Runtime(RuntimeSettings(str(tmp_path / "target"), str(tmp_path / "pack"), dtype="float32"))


def test_what_the_target_wrote_is_not_read_again_and_gives_what_reading_gives(runtime: Runtime) -> None:
    prompt = np.array(runtime.target.tokenizer("<|im_start|>user\nName a city.").input_ids, np.int32)
    answer = anyio.run(runtime.generate, GenerateRequest(prompt, max_new_tokens=8, seed=1))
    positions = np.array([2, len(prompt), len(answer.token_ids) - 2])
    written = CaptureRequest("written", answer.token_ids, positions)
    other = CaptureRequest("other", np.append(prompt[:-1], prompt[0]), np.array([2, len(prompt) - 1]))
    found = {c.key: c for c in runtime.engine.capture([written, other])}
    assert (found["written"].recorded, found["other"].recorded) == (True, False)
    (read,) = TransformersEngine(runtime.target, runtime.pack).capture([written])
    np.testing.assert_allclose(found["written"].activations, read.activations, rtol=1e-4, atol=1e-5)


def test_a_target_without_a_pack_answers(tmp_path: Path) -> None:
    write_tiny_pack(tmp_path)
    runtime = Runtime(RuntimeSettings(str(tmp_path / "target"), dtype="float32"))
    prompt = np.array([5, 6, 7], np.int32)
    assert anyio.run(runtime.generate, GenerateRequest(prompt, max_new_tokens=3)).activations is None
