"""`--plan` says what a command would read, before weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_target import write_tiny_target
from typer.testing import CliRunner

import nla_eval.engines.loading
from nla_eval.commands.cli import app


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
