"""With lora_rank 0 every weight trains, in the joint stage too, and the pack holds whole checkpoints that compute what
was trained; one role may have an adapter while the other has none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nla_eval.training.pack.export as export_module
from nla_eval.engines.base import Sampling, VerbalizeRequest
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.loading import load_av
from nla_eval.errors import PackError
from nla_eval.models.pack import load_pack
from nla_eval.models.pack_check import check_files
from nla_eval.models.pack_meta import ADAPTER
from nla_eval.training.check import check
from nla_eval.training.config import HardwareConfig
from nla_eval.training.estimate import takes
from nla_eval.training.models.ar import predict
from nla_eval.training.models.optim import restore
from nla_eval.training.pack.export import Weights, write_checkpoint
from nla_eval.training.run import Run
from nla_eval.training.stages import run_stages
from tests.training.conftest import Inline
from tests.training.tiny_run import settings

TRAINING = ["ar", "av", "samples", "ar_on_samples", "joint"]
JOINT = {"steps": 1, "groups": 2, "samples_per_group": 2, "evaluate_rows": 2}


def whole(rank: int = 0, **changes: Any) -> dict[str, Any]:
    return {"samples": 32, "batch": 16, "lora_rank": rank, "lr": 1e-3, **changes}


def run_of(trained: Path, folder: Path, **changes: Any) -> Run:
    """The finished tiny run's corpus and activations, to be trained otherwise in `folder`."""
    shutil.copytree(trained / "run", folder)
    given = {"ar": whole(), "av": whole(), "ar_on_samples": whole(samples=16), "joint": JOINT, **changes}
    return Run(settings(trained, **given), folder)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages in this process, and memory not given back after every phase of a step: both only take time here."""
    monkeypatch.setattr("nla_eval.training.joint.stage.release_memory", lambda: None)
    monkeypatch.setattr("nla_eval.training.stages.multiprocessing.get_context", lambda _: Inline)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(("av_rank", "ar_rank"), [(0, 0), (0, 2), (2, 0)])
def test_a_pack_of_whole_weights_computes_what_was_trained(
    trained: Path, tmp_path: Path, av_rank: int, ar_rank: int
) -> None:
    run = run_of(trained, tmp_path / "run", av=whole(av_rank), ar=whole(ar_rank))
    check(run)
    run_stages(run, TRAINING)
    pack = write_checkpoint(run, Weights.final(run), tmp_path / "made")
    assert (pack.av_path / ADAPTER).is_file() == bool(av_rank)
    assert (pack.ar_path / ADAPTER).is_file() == bool(ar_rank)

    ar = run.reconstructor(run.config.ar)
    start = ar.head.weight.detach().clone()
    restore(ar, run.weights("ar"))
    assert not torch.equal(ar.head.weight, start)
    engine = TransformersEngine(run.target, load_pack(str(pack.path)))
    texts = ["now: user turn 1", "themes: garden"]
    theirs = predict(ar, texts, run.meta("ar", run.pairs()[0].activations), run.target.tokenizer).numpy()
    np.testing.assert_allclose(engine.reconstruct(texts), theirs, rtol=0.05, atol=0.02)  # stored in bf16
    vector = run.pairs()[1].activations[0].numpy()
    assert next(iter(engine.verbalize([VerbalizeRequest("a", vector)], Sampling(0.0, 8)))).tokens > 0


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_joint_stage_moves_embeddings_blocks_and_head(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """Planted: the second sample of a group earns more than the first; a random model closes none."""
    monkeypatch.setattr("nla_eval.training.joint.stage.reward", lambda draw, *_: float(draw.key.rsplit("|")[-1]))
    run = run_of(trained, tmp_path / "run")
    run = replace(
        run, config=run.config.model_copy(update={"hardware": HardwareConfig.model_validate({"dtype": dtype})})
    )
    run_stages(run, ["activations", "explanations"])
    run_stages(run, TRAINING)
    for role, names in (("av", ("embed_tokens", "q_proj", "lm_head")), ("ar", ("embed_tokens", "q_proj", "head"))):
        before, after = load_file(run.warm_start(role)), load_file(run.weights(role))
        for name in names:
            key = next(key for key in after if name in key)
            assert not torch.equal(before[key], after[key]), key


@pytest.mark.usefixtures("inline")
def test_the_pack_stage_says_the_size_first_and_writes_below_the_run_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: a self-test and a card, which a model of sixteen numbers could not pass or fill."""
    run = run_of(trained, tmp_path / "run", joint={})
    run_stages(run, TRAINING)
    assert "of whole weights, not for git" in takes(run.config, lambda: run.target)["pack"].work
    monkeypatch.setattr(TransformersEngine, "self_test", lambda _, **__: "planted")
    monkeypatch.setattr(export_module, "make_card", lambda run, engine, corpus: {"pack": engine.pack.id, **CARD})
    run_stages(run, ["pack"])
    printed = capsys.readouterr().out
    assert printed.index("MB of whole weights in") < printed.index("planted")
    made = load_pack(str(run.folder / "packs" / "tiny"))
    assert made.card is not None
    assert made.card["pack"] == made.id
    lines = list(check_files(made, run.target))
    assert any("plain weights" in line for line in lines)


CARD = {"target": "tiny", "layer": 1}


@pytest.mark.usefixtures("inline")
def test_a_stopped_pack_stage_leaves_no_half_written_pack(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(trained, tmp_path / "run", joint={})
    run_stages(run, TRAINING)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "_write_self_test", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_stages(run, ["pack"])
    assert not list((run.folder / "packs").iterdir())
    assert not (run.folder / "pack.json").exists()


@pytest.mark.usefixtures("inline")
def test_a_run_can_begin_with_whole_weights_and_with_merged_adapters(trained: Path, tmp_path: Path) -> None:
    first = run_of(trained, tmp_path / "first", joint={}, av=whole(2))
    run_stages(first, TRAINING)
    made = write_checkpoint(first, Weights.final(first), tmp_path / "made")
    config = first.config.model_copy(update={"start_from": str(made.path), "av": first.config.ar})
    second = replace(first, config=config, folder=tmp_path / "second")
    av, ar = second.verbalizer(made.av), second.reconstructor(config.ar)
    loaded = (
        load_av(first.target.path, made.av_path, torch.float32),
        TransformersEngine(first.target, made)._reconstructor[0],
    )
    for ours, theirs in zip((av.lm, ar.trunk), loaded, strict=True):
        expected = theirs.state_dict()
        for name, weight in ours.state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.usefixtures("inline")
def test_adapters_cannot_begin_with_whole_weights(trained: Path, tmp_path: Path) -> None:
    run = run_of(trained, tmp_path / "run", joint={})
    run_stages(run, TRAINING)
    made = write_checkpoint(run, Weights.final(run), tmp_path / "made")
    config = settings(trained, start_from=str(made.path))
    with pytest.raises(PackError, match=r"av of pack 'made' is whole weights and av\.lora_rank 2; set it to 0"):
        check(Run(config, tmp_path / "again"))
