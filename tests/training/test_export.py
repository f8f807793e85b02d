"""The card of a run states its training data and cost, whichever stages were left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from nla_eval.models.trained_on import HASHES
from nla_eval.training.pack.export import _write_hashes, facts_of_run
from nla_eval.training.run import Run
from tests.training.tiny_run import settings


def test_a_stage_that_was_left_out_has_no_hours_and_conversations_are_counted_by_kind(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / "ar_on_samples.jsonl").unlink()
    run = Run(settings(trained), tmp_path / "run")
    corpus = run.corpus()
    found = facts_of_run(run, corpus)
    assert found["hours"]["ar"] is not None
    assert found["hours"]["ar_on_samples"] is None
    assert found["hours"]["joint"] is None
    assert found["data"]["sources"] == {"sharegpt": len(corpus)}


def test_a_pack_names_what_the_pack_it_began_from_was_trained_on_too(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(settings(trained), trained / "run")
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / HASHES).write_text("0123456789abcdef\n")
    monkeypatch.setattr(Run, "start", lambda self: SimpleNamespace(pack=SimpleNamespace(path=begun)))
    _write_hashes(run, run.corpus(), tmp_path / HASHES)
    lines = (tmp_path / HASHES).read_text().split()
    assert "0123456789abcdef" in lines
    assert len(lines) > 100
    assert lines == sorted(set(lines))
