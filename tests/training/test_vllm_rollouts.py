"""vLLM draws from the AV as it is now: after every sync its greedy text is the decoder's. Tests that need
vLLM itself are marked `full`; elsewhere a planted vLLM records the calls."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

import nla_eval.training.joint.stage as joint
from nla_eval.engines.base import Sampling
from nla_eval.engines.side_by_side import Split
from nla_eval.engines.vllm.local import VllmConfig
from nla_eval.errors import InputError, MissingExtraError
from nla_eval.training.config import TrainConfig
from nla_eval.training.joint.rollouts import Rollouts
from nla_eval.training.joint.round_trip import Models
from nla_eval.training.joint.stage import train_joint
from nla_eval.training.joint.vllm_rollouts import VllmRollouts
from nla_eval.training.joint_config import JointConfig
from nla_eval.training.models.optim import trainable
from nla_eval.training.run import Run, joint_drawing
from tests.training.planted_vllm import plant
from tests.training.tiny_pair import CAP, closing_with, requests, tiny_models, tiny_pairs
from tests.training.tiny_run import settings

INSTALLED = importlib.util.find_spec("vllm") is not None


def move(models: Models, seed: int) -> None:
    """Change every weight that trains, by a tenth of its size."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trainable(models.av).values():
            parameter.add_(torch.randn(parameter.shape, generator=drawn) * 0.1 * parameter.std())


def assert_follows(models: Models) -> None:
    """Both sources draw the same before the first update, after one, and after another; and the updates are seen."""
    pairs = tiny_pairs()
    ours, theirs = VllmRollouts(models.av, models.tokenizer, VllmConfig(), CAP), None
    seen = []
    try:
        for step in range(3):
            if step:
                move(models, step)
            theirs = theirs or Rollouts(models.av, models.tokenizer, Split())
            for source in (ours, theirs):
                source.sync()
            found = [[d.ids for d in s.draw(requests(pairs, 1), Sampling(0.0, CAP))] for s in (ours, theirs)]
            assert found[0] == found[1], step
            seen.append(found[0])
    finally:
        ours.release()
    assert seen[0] != seen[1] != seen[2]
    assert all(len(ids) == CAP or ids[-1] == models.tokenizer.eos_token_id for ids in seen[0])


@pytest.mark.parametrize("rank", [4, 0])
def test_after_every_sync_vllm_draws_what_the_decoder_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    planted = plant(monkeypatch)
    assert_follows(tiny_models(tmp_path, rank))
    made = planted.instances[0]
    assert len(planted.instances) == 1, "weights are reloaded in place"
    assert made.stopped
    assert made.options["enable_prompt_embeds"]
    assert not Path(made.model.config._name_or_path).exists(), "written weights are removed"


def test_a_joint_stage_runs_on_what_vllm_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tiny_models(tmp_path / "models")
    closing_with(monkeypatch, models)
    planted = plant(monkeypatch)
    monkeypatch.setattr(joint, "release_memory", lambda: None)
    monkeypatch.setattr(joint, "reward", lambda draw, *_: float(draw.key.rsplit("|")[-1]))
    source = VllmRollouts(models.av, models.tokenizer, VllmConfig(), CAP)
    drawing = Models(models.av, models.ar, models.meta, models.tokenizer, source)
    config = JointConfig(steps=2, groups=2, samples_per_group=2, max_new_tokens=CAP, evaluate_rows=2)
    train_joint(drawing, tiny_pairs(), tiny_pairs(3, 1), config, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "joint.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 1, 2]
    assert all(line["av_grad_norm"] > 0 for line in log[1:])
    assert len(planted.instances) == 1
    source.release()


def test_samples_are_drawn_by_vllm_and_it_is_let_go(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = pl.read_parquet(trained / "run" / "samples.parquet")
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / "samples.parquet").unlink()
    shutil.rmtree(tmp_path / "run" / "samples")
    planted = plant(monkeypatch)
    config = settings(trained, hardware={"sharding": "fsdp", "rollouts": "vllm"})
    again = Run(config, tmp_path / "run").samples()
    assert again["index"].to_list() == drawn["index"].to_list()
    assert len(planted.instances) == 1
    assert planted.instances[0].stopped
    assert not Path(planted.instances[0].model.config._name_or_path).exists(), "written weights are removed"


@pytest.mark.skipif(INSTALLED, reason="vllm is installed")
def test_without_vllm_the_install_command_is_named() -> None:
    config = TrainConfig.model_validate({"hardware": {"rollouts": "vllm"}})
    with pytest.raises(MissingExtraError, match=r"hardware\.rollouts 'vllm' .*pip install 'nla_eval\[vllm\]'"):
        joint_drawing(config)


@pytest.mark.parametrize(
    ("rollouts", "size", "says"),
    [("vllm:tp=2", "1", "no option 'tp'; known: tensor_parallel_size"), ("vllm", "2", "needs a single process")],
)
def test_what_vllm_cannot_do_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, rollouts: str, size: str, says: str
) -> None:
    plant(monkeypatch)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(InputError, match=says):
        joint_drawing(TrainConfig.model_validate({"hardware": {"rollouts": rollouts}}))


@pytest.mark.full
@pytest.mark.skipif(not INSTALLED, reason="vllm is not installed; see docs/vllm.md")
@pytest.mark.parametrize("rank", [4, 0])
def test_the_real_vllm_follows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
    assert_follows(tiny_models(tmp_path, rank, head_dim=32))
