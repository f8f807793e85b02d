"""Checkpoints of a run are measured on the same rows, once each, and plotted over core-hours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nla_eval.commands.cli import app
from nla_eval.errors import InputError
from nla_eval.training import checkpoints as made
from nla_eval.training.checkpoints import Checkpoint, checkpoints, measured, plotted
from nla_eval.training.run import Run
from tests.training.tiny_run import settings

STEPS = (2, 4)


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The tiny run with two snapshots of a joint stage: its own warm start, as if it had been trained on."""
    monkeypatch.setattr("nla_eval.training.pack.export.MONITOR", 8)
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    for step in STEPS:
        (folder / "joint" / f"{step:05d}").mkdir(parents=True)
        for role in ("av", "ar"):
            shutil.copy(folder / f"{role}.safetensors", folder / "joint" / f"{step:05d}" / f"{role}.safetensors")
    lines = [{"step": 0}, *({"step": s, "cpu_s": {"draw": 1800.0, "evaluate": 900.0}} for s in range(1, 5))]
    (folder / "joint.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(settings(trained), folder)


def test_the_warm_start_and_every_snapshot_are_checkpoints_with_the_hours_until_then(run: Run) -> None:
    found = checkpoints(run)
    assert [c.step for c in found] == [0, *STEPS]
    hours = [c.core_hours for c in found if c.core_hours is not None]
    assert [round(h - hours[0], 2) for h in hours] == [0.0, 1.0, 2.0]
    assert found[0].weights.ar.name == "ar_on_samples.safetensors"


def test_a_run_without_a_warm_start_is_refused_by_the_file_it_lacks(run: Run) -> None:
    (run.folder / "av.safetensors").unlink()
    with pytest.raises(InputError, match=r"no av\.safetensors yet"):
        checkpoints(run)


def test_what_is_measured_is_kept_and_not_measured_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list(measured(run, 24, sections=()))
    assert [r.step for r in first] == [0, *STEPS]
    assert len({r.held_out.digest for r in first}) == 1
    assert plotted(run, first).stat().st_size > 1000

    again: list[Checkpoint] = []
    monkeypatch.setattr(made, "write_checkpoint", lambda run, weights, out: again.append(weights))
    assert list(measured(run, 24, sections=())) == first
    assert again == []


def test_other_rows_or_newer_weights_are_measured_again(run: Run) -> None:
    first = list(measured(run, 24, sections=()))
    later = run.folder / "joint" / "00004" / "av.safetensors"
    record = run.folder / "records" / "00004.json"
    shutil.copy(run.folder / "av.safetensors", later)
    before = record.stat().st_mtime_ns
    list(measured(run, 24, sections=()))
    assert record.stat().st_mtime_ns > before
    assert [r.held_out.rows for r in measured(run, 12, sections=())] == [12] * len(first)


def test_the_command_says_each_checkpoint_and_where_the_plot_is(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(run.config.model_dump(mode="json")))
    done = CliRunner().invoke(app, ["train", str(config), "--run-folder", str(run.folder), "--measure", "24"])
    assert done.exit_code == 0, done.output
    assert [line.split(",")[0] for line in done.output.splitlines() if line.startswith("step")] == [
        "step 0", "step 2", "step 4"
    ]  # fmt: skip
    assert "training.svg" in done.output.replace("\n", "")
