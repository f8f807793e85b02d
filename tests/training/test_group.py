"""Several processes, and one that takes micro-batches, give the losses of one that takes whole batches. Where weights
are sharded only the first process reads them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nla_eval.models.pack import load_pack
from nla_eval.models.prompts import av_prompt
from nla_eval.models.target import Target, load_target
from nla_eval.training.config import AVConfig, HardwareConfig
from nla_eval.training.models.ar import Pairs, Reconstructor, train_ar
from nla_eval.training.models.av import Verbalizer, train_av
from nla_eval.training.models.group import Group, placed, reads_weights
from nla_eval.training.models.loading import Loading
from tests.engines.tiny_pack import write_tiny_pack
from tests.training.processes import together

TEXTS = [f"line {i} of {'abc' * (i % 7)}" for i in range(23)]
OPTIM = AVConfig(samples=48, batch=8, micro_batch=8, lora_rank=2, lr=0.01)


@dataclass(frozen=True)
class Case:
    """What is trained."""

    role: str = "ar"
    rank: int = 2
    tied: bool = False
    dtype: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.role}-{self.rank}-{'tied' if self.tied else 'untied'}-{self.dtype}"

    @property
    def tolerance(self) -> float:
        """bf16 rounds every product to three digits."""
        return 1e-4 if self.dtype == "float32" else 0.05


CASES = (Case(), Case("av"), Case(rank=0), Case("av", rank=0, tied=True), Case("av", dtype="bfloat16"),
         Case("av", rank=0, tied=True, dtype="bfloat16"))  # fmt: skip


def target_of(folder: Path, case: Case, *, whole: bool) -> Target:
    """The tiny target; without `whole` a copy that holds no weights at all."""
    name = f"target-{case.tied}-{whole}"
    return load_target(str(folder / name))


def write_targets(folder: Path) -> None:
    for tied in (False, True):
        for whole in (True, False):
            made = folder / f"target-{tied}-{whole}"
            shutil.copytree(folder / "target", made)
            config = json.loads((made / "config.json").read_text())
            (made / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": tied}))
            weights = load_file(made / "model.safetensors")
            (made / "model.safetensors").unlink()
            if whole:
                kept = {name: weight for name, weight in weights.items() if not (tied and "lm_head" in name)}
                save_file(kept, made / "model.safetensors", metadata={"format": "pt"})


def train(folder: Path, out: Path, case: Case, sharding: str = "none", optim: AVConfig = OPTIM) -> None:
    """Train the tiny target's AR or AV in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hardware = HardwareConfig.model_validate({"sharding": sharding, "dtype": case.dtype})
    reads = reads_weights(hardware)
    target = target_of(folder, case, whole=reads)
    pack = load_pack(str(folder / "pack"))
    loading = Loading(getattr(torch, case.dtype), empty=not reads)
    vectors = torch.randn(len(TEXTS), 16, generator=torch.Generator().manual_seed(1))
    pairs, optim = Pairs(TEXTS, vectors), optim.model_copy(update={"lora_rank": case.rank, "lr": 0.002})
    if case.role == "ar":
        ar = Reconstructor(target.path, 1, case.rank, loading)
        placed(ar, ar.blocks, hardware)
        train_ar(ar, pairs, pairs, meta=pack.ar, tokenizer=target.tokenizer, config=optim, folder=out)
    else:
        av = Verbalizer(target.path, av_prompt(pack.av, target.tokenizer), 3.0, case.rank, loading)
        placed(av, av.blocks, hardware)
        train_av(av, pairs, pairs, tokenizer=target.tokenizer, config=optim, folder=out)


def shared(sharding: str) -> list[Case]:
    """What several processes train."""
    return [case for case in CASES if sharding == "none" or case.dtype == "float32"]


def train_all(folder: Path, out: Path, sharding: str) -> None:
    """What each of several processes does."""
    Group.joined()
    for case in shared(sharding):
        train(folder, out / case.name, case, sharding)


def losses(out: Path, case: Case) -> list[list[float]]:
    lines = [json.loads(line) for line in (out / f"{case.role}.jsonl").read_text().splitlines()]
    return [[line["train_loss"], line.get("held_out_mse_nrm", line.get("held_out_nll"))] for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pack, its target in four forms, and every case trained by one process in `alone`."""
    made = tmp_path_factory.mktemp("group")
    write_tiny_pack(made)
    write_targets(made)
    for case in CASES:
        train(made, made / "alone" / case.name, case)
    return made


def test_shares_come_back_in_their_order() -> None:
    rows = list(range(7))
    parts = [Group(rank, 3).share(rows) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    assert Group().gathered(Group().share(rows)) == rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_micro_batches_give_the_losses_of_whole_batches(folder: Path, case: Case) -> None:
    out = folder / "micro" / case.name
    train(folder, out, case, optim=OPTIM.model_copy(update={"micro_batch": 3}))
    for ours, theirs in zip(losses(out, case), losses(folder / "alone" / case.name, case), strict=True):
        assert ours == pytest.approx(theirs, abs=case.tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_give_the_losses_of_one_and_the_second_reads_no_sharded_weight(
    folder: Path, sharding: str
) -> None:
    out = folder / f"two-{sharding}"
    together(2, train_all, folder, out, sharding)
    for case in shared(sharding):
        for ours, theirs in zip(losses(out / case.name, case), losses(folder / "alone" / case.name, case), strict=True):
            assert ours == pytest.approx(theirs, abs=case.tolerance), case.name


@pytest.mark.parametrize("case", [case for case in CASES if not case.rank], ids=lambda case: case.name)
def test_full_fine_tuning_trains_every_weight_in_float32(folder: Path, case: Case) -> None:
    saved = load_file(folder / "alone" / case.name / f"{case.role}.safetensors")
    weights = {name: weight for name, weight in saved.items() if name.startswith("param.")}
    assert any("embed_tokens" in name for name in weights)
    assert any("lm_head" in name for name in weights) == (case.role == "av" and not case.tied)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
