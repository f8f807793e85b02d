"""Several processes, and one that takes micro-batches, give the losses of one that takes whole batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nla_eval.training.ar import Pairs, Reconstructor, train_ar
from nla_eval.training.config import HardwareConfig, OptimConfig
from nla_eval.training.group import Group, placed
from tests.engines.tiny_pack import write_tiny_pack
from tests.training.processes import together

TEXTS = [f"line {i} of {'abc' * (i % 7)}" for i in range(23)]


def train(folder: Path, out: Path, optim: OptimConfig, sharding: str = "none") -> None:
    """Train the tiny target's AR in this process."""
    from nla_eval.pack import load_pack
    from nla_eval.target import load_target

    torch.set_num_threads(1)
    torch.manual_seed(0)
    target, meta = load_target(str(folder / "target")), load_pack(str(folder / "pack")).ar
    model = Reconstructor(target.path, 1, optim.lora_rank)
    placed(model, model.blocks, HardwareConfig.model_validate({"sharding": sharding}))
    vectors = torch.randn(len(TEXTS), 16, generator=torch.Generator().manual_seed(1))
    pairs = Pairs(TEXTS, vectors)
    train_ar(model, pairs, pairs, meta=meta, tokenizer=target.tokenizer, config=optim, folder=out)


def losses(out: Path) -> list[tuple[float, float]]:
    lines = [json.loads(line) for line in (out / "ar.jsonl").read_text().splitlines()]
    return [(line["train_loss"], line["held_out_mse_nrm"]) for line in lines]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OptimConfig]:
    """The tiny pack's folder, with a run of one process and whole batches in `alone`."""
    folder = tmp_path_factory.mktemp("group")
    write_tiny_pack(folder)
    optim = OptimConfig(samples=48, batch=8, micro_batch=8, lora_rank=2, lr=0.01)
    train(folder, folder / "alone", optim)
    return folder, optim


def test_shares_come_back_in_their_order() -> None:
    rows = list(range(7))
    parts = [Group(rank, 3).share(rows) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    assert Group().gathered(Group().share(rows)) == rows


def test_micro_batches_give_the_losses_of_whole_batches(alone: tuple[Path, OptimConfig]) -> None:
    folder, optim = alone
    train(folder, folder / "micro", optim.model_copy(update={"micro_batch": 3}))
    for ours, theirs in zip(losses(folder / "micro"), losses(folder / "alone"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_give_the_losses_of_one(alone: tuple[Path, OptimConfig], sharding: str) -> None:
    folder, optim = alone
    out = folder / f"two-{sharding}"
    together(2, train, folder, out, optim, sharding)
    for ours, theirs in zip(losses(out), losses(folder / "alone"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_full_fine_tuning_trains_every_weight(alone: tuple[Path, OptimConfig]) -> None:
    folder, optim = alone
    train(folder, folder / "full", optim.model_copy(update={"lora_rank": 0}))
    found = losses(folder / "full")
    assert len(found) == len(losses(folder / "alone"))
    from safetensors.torch import load_file

    assert any("embed_tokens" in name for name in load_file(folder / "full" / "ar.safetensors"))
