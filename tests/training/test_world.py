"""Two processes that share the groups end where one ends: gradients are summed over them, rewards compared across."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import nla_eval.engines.decoding as decoding
import nla_eval.prompts as prompts
from nla_eval.training.joint import train_joint
from nla_eval.training.joint_config import JointConfig
from nla_eval.training.world import World
from tests.training.tiny_pair import CAP, closing_with, tiny_models, tiny_pairs

CONFIG = JointConfig(
    steps=2, groups=3, samples_per_group=4, max_new_tokens=CAP, micro_tokens=200, evaluate_rows=3, evaluate_every=1,
    masked_share=0.4, advantage_scale="step", kl=0.01,
)  # fmt: skip


def process(rank: int, size: int, port: int, letter: str, folder: Path) -> None:
    """One of `size` processes, as `torchrun` would start it."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(size), RANK=str(rank))
    os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(size))
    prompts.CLOSE_TAG = decoding.CLOSE_TAG = letter
    torch.set_num_threads(1)
    models = tiny_models(folder / f"models-{rank}")
    train_joint(models, tiny_pairs(), tiny_pairs(3, 1), CONFIG, folder, World.joined())
    if size > 1:
        torch.distributed.destroy_process_group()


def test_shares_come_back_in_their_order() -> None:
    rows = list(range(7))
    parts = [World(rank, 3).share(rows) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    assert World().gathered(World().share(rows)) == rows


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = closing_with(monkeypatch, tiny_models(tmp_path / "pilot"))
    one, two = tmp_path / "one", tmp_path / "two"
    train_joint(tiny_models(one / "models"), tiny_pairs(), tiny_pairs(3, 1), CONFIG, one)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=process, args=(rank, 2, port, letter, two)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    logs = [[json.loads(line) for line in (folder / "joint.jsonl").read_text().splitlines()] for folder in (one, two)]
    for single, shared in zip(*logs, strict=True):
        for key in single.keys() - {"wall_s", "cpu_s", "held_out"}:
            assert shared[key] == pytest.approx(single[key], abs=2e-4), key
        assert shared.get("held_out") == pytest.approx(single.get("held_out"), abs=2e-4)
    states = [load_file(folder / "joint.safetensors") for folder in (one, two)]
    for key, value in states[0].items():
        if ".param." in key:
            torch.testing.assert_close(states[1][key], value, atol=2e-4, rtol=0, msg=key)
