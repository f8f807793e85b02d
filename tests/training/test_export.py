"""The card says of a run what it was trained on and what it took, whichever stages were left out."""

from __future__ import annotations

import shutil
from pathlib import Path

from nla_eval.training.export import facts_of_run
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
