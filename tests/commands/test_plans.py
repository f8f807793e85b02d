"""`--plan` says what a command would read, before weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_target import write_tiny_target
from typer.testing import CliRunner

import nla_eval.engines.loading
from nla_eval.commands.cli import app
from nla_eval.models.target import cache_dir


def refused(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("weights were loaded")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["train", "--out", "p.safetensors", "--layer", "1", "--tokens", "3"], "tokens through blocks 0 to 1 of"),
        (["asked"], "tokens through all blocks of"),
    ],
)
def test_a_plan_of_a_probe_counts_what_it_would_read(
    command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nla_eval.engines.loading, "load_trunk", refused)
    monkeypatch.chdir(tmp_path)
    target = str(write_tiny_target(tmp_path / "target"))
    shown = CliRunner().invoke(app, ["probe", *command, "--target", target, "--plan"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("40 pairs, 80 transcripts: ")
    assert told in shown.output
    assert not Path("p.safetensors").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["organism", "train", "--planted", "random"], "smollm2-135m-organism-sham-random: the natural shift of 144"),
        (["organism", "check", "--doses", "1", "--directions", "7"], "ablation of 7 random directions"),
        (["setting", "train"], "LoRA of rank 8 for pack smollm2-135m-l20"),
        (["pack", "card", "--measure", "--rows", "9", "--only", "pairs"], "9 positions of the held-out part"),
    ],
)
@pytest.mark.pack
def test_a_plan_of_training_and_measuring_loads_no_weights(
    command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nla_eval.engines.loading, "load_lm", refused)
    monkeypatch.setattr(nla_eval.engines.loading, "load_trunk", refused)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, [*command, "--plan"])
    assert shown.exit_code == 0, shown.output
    assert told in shown.output
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("command", "mend"),
    [
        (["organism", "train", "--planted", "nothing"], "expected one of told, language, random"),
        (["setting", "check"], "nla-eval setting train"),
        (["pack", "card"], "add --measure"),
    ],
)
def test_a_plan_of_what_cannot_run_says_what_mends_it(
    command: list[str], mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, [*command, "--plan"])
    assert shown.exit_code != 0
    assert mend in f"{shown.exception} {shown.output}"


@pytest.mark.pack
def test_a_plan_of_the_demo_counts_what_is_answered_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nla_eval.engines.loading, "load_lm", refused)
    (tmp_path / "targets").symlink_to(cache_dir() / "targets")  # converted weights, but no answers
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path))
    shown = CliRunner().invoke(app, ["demo", "--plan", "--limit", "2", "--out", str(tmp_path / "out")])
    assert shown.exit_code == 0, shown.output
    assert "2 answers that the target has not written yet" in shown.output
    assert "2 evaluation" in shown.output
    assert not (tmp_path / "out" / "store").exists()
