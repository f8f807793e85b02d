"""The part of `nla-eval report` about calibration files: which one is of which judge, and what it says in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..judging.calibration import CalibrationFile, CalibrationRow, error_counts, read_calibration


def read_calibrations(files: Sequence[str]) -> list[CalibrationFile]:
    """Read files, before anything slow is done. Raises InputError naming the first that cannot be used."""
    return [read_calibration(Path(file)) for file in files]


def expect_some_use(calibrations: Sequence[CalibrationFile], judges: Sequence[tuple[str, str]]) -> None:
    """Check that every calibration is of one of the judges.

    Raises:
        InputError: One is not, or two are of the same; one line with both names.
    """
    for calibration in calibrations:
        if (calibration.classifier, calibration.rubric) not in judges:
            calibration.expect(*judges[0])
        error_counts(calibrations, calibration.classifier, calibration.rubric)


def calibration_facts(calibrations: Sequence[CalibrationFile], classifier: str, rubric: str) -> dict[str, Any]:
    """For a tally's provenance: the calibration of its judge and a line for each kind of text; empty without one."""
    own = [c for c in calibrations if (c.classifier, c.rubric) == (classifier, rubric)]
    if not own:
        return {}
    facts = own[0].model_dump(mode="json", exclude={"rows", "format"})
    lines = [_line(own[0], row) for row in own[0].rows if row.headline.value == "paper"]
    return {"calibration": {**facts, "lines": lines}}


def _line(calibration: CalibrationFile, row: CalibrationRow) -> str:
    recall, false_rate = row.weighted.recall, row.weighted.false_rate
    found = "no aware text" if recall is None else f"finds {recall:.0%} of aware texts"
    false = "no other text" if false_rate is None else f"flags {false_rate:.2%} of the others"
    return (
        f"calibration of {calibration.classifier} by {', '.join(calibration.labelled_by)} ({calibration.made}), "
        f"{row.kind}s, headline paper: {found}, {false} ({calibration.labelled} texts labelled)"
    )
