"""Two processes that share the groups give the result of one: gradients are summed, rewards compared across them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import nla_eval.engines.decoding as decoding
import nla_eval.models.prompts as prompts
from nla_eval.training.joint.stage import train_joint
from nla_eval.training.joint_config import JointConfig
from nla_eval.training.models.group import Group
from tests.training.processes import together
from tests.training.tiny_pair import CAP, closing_with, tiny_models, tiny_pairs

CONFIG = JointConfig(
    steps=2, groups=3, samples_per_group=4, max_new_tokens=CAP, micro_tokens=200, evaluate_rows=3, evaluate_every=1,
    masked_share=0.4, advantage_scale="step", kl=0.01,
)  # fmt: skip


def train(letter: str, folder: Path) -> None:
    """What each process does."""
    prompts.CLOSE_TAG = decoding.CLOSE_TAG = letter
    models = tiny_models(folder / "models")
    train_joint(models, tiny_pairs(), tiny_pairs(3, 1), CONFIG, folder, Group.joined())


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = closing_with(monkeypatch, tiny_models(tmp_path / "pilot"))
    one, two = tmp_path / "one", tmp_path / "two"
    train_joint(tiny_models(one / "models"), tiny_pairs(), tiny_pairs(3, 1), CONFIG, one)
    together(2, train, letter, two)
    logs = [[json.loads(line) for line in (folder / "joint.jsonl").read_text().splitlines()] for folder in (one, two)]
    for single, shared in zip(*logs, strict=True):
        for key in single.keys() - {"wall_s", "cpu_s", "held_out"}:
            assert shared[key] == pytest.approx(single[key], abs=2e-4), key
        assert shared.get("held_out") == pytest.approx(single.get("held_out"), abs=2e-4)
    states = [load_file(folder / "joint.safetensors") for folder in (one, two)]
    for key, value in states[0].items():
        if ".param." in key:
            torch.testing.assert_close(states[1][key], value, atol=2e-4, rtol=0, msg=key)
