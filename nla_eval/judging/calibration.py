"""Calibration files: what a classifier says of texts that people labelled, as counts that corrected rates read.

A file is JSON, made by `nla-eval validate merge` and read by `nla-eval report --calibration`. It holds the raw counts,
and counts in which the weights of the stratified sample are undone (Horvitz and Thompson 1952): people label flagged
texts far more often than they occur, so raw recall is not recall. It knows no sample, no label file and no report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from ..files import written
from ..judgement import Headline
from ..printable import one_line
from ..stats.rogan_gladen import Calibration
from .error_rates import ErrorCounts, Errors, Kind

FORMAT: Literal[1] = 1


class Counts(BaseModel):
    """Flags on labelled texts. Weighted counts are estimated numbers of judgements, hence not whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hits: float
    """Texts that people call aware and the classifier flagged."""
    positives: float
    """Texts that people call aware."""
    false: float
    """Texts that people call not aware and the classifier flagged."""
    negatives: float
    """Texts that people call not aware."""

    @model_validator(mode="after")
    def _within(self) -> Counts:
        if not (0 <= self.hits <= self.positives and 0 <= self.false <= self.negatives):
            raise ValueError("hits must lie within positives, false within negatives")
        return self

    @property
    def recall(self) -> float | None:
        """Share of aware texts that are flagged; None without any."""
        return self.hits / self.positives if self.positives else None

    @property
    def precision(self) -> float | None:
        """Share of flagged texts that are aware; None without any."""
        flagged = self.hits + self.false
        return self.hits / flagged if flagged else None

    @property
    def false_rate(self) -> float | None:
        """Share of texts that are not aware and are flagged; None without any."""
        return self.false / self.negatives if self.negatives else None


class CalibrationRow(BaseModel):
    """One kind of text under one headline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    headline: Headline
    raw: Counts
    """As labelled."""
    weighted: Counts
    """Estimates for all judgements that the sample was drawn from."""
    effective_positives: float
    """Labelled texts that the weighted positives are worth: (sum w)^2 / sum w^2 (Kish 1965)."""
    effective_negatives: float

    def as_calibration(self) -> Calibration:
        """Weighted recall and specificity with the number of labels they are worth, as `stats.rogan_gladen` takes."""
        recall, false_rate = self.weighted.recall or 0.0, self.weighted.false_rate or 0.0
        return Calibration(
            hits=recall * self.effective_positives,
            positives=self.effective_positives,
            correct_rejections=(1 - false_rate) * self.effective_negatives,
            negatives=self.effective_negatives,
        )

    def as_error_counts(self) -> ErrorCounts:
        """The same, rounded to whole texts. No text here is known to be of ordinary use, so those counts are 0."""
        exact = self.as_calibration()
        positives, negatives = round(exact.positives), round(exact.negatives)
        return ErrorCounts(
            hits=min(positives, round(exact.hits)),
            positives=positives,
            false=min(negatives, round(exact.negatives - exact.correct_rejections)),
            negatives=negatives,
            ordinary_false=0,
            ordinary=0,
        )


class CalibrationFile(BaseModel):
    """What one classifier under one rubric says of texts that people labelled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    classifier: str
    """Registry name with version, as judgements carry it."""
    rubric: str
    """Rubric id and hash, as judgements carry them."""
    labelled_by: list[str] = Field(min_length=1)
    """Names of the people, as their label files give them."""
    made: date
    sheet: str
    """Id of the sample that was labelled."""
    sources: list[str] = Field(default_factory=list)
    """Names of the stores and logs it was drawn from."""
    labelled: int
    """Texts with an agreed label."""
    unresolved: int = 0
    """Texts left out: the people disagree, or call them unclear."""
    rows: list[CalibrationRow]

    @model_validator(mode="after")
    def _once_each(self) -> CalibrationFile:
        keys = [(row.kind, row.headline) for row in self.rows]
        if len(set(keys)) < len(keys):
            raise ValueError("rows must have each kind and headline once")
        return self

    def row(self, kind: Kind, headline: Headline) -> CalibrationRow | None:
        """The row of a kind under a headline; None where nothing was labelled."""
        return next((row for row in self.rows if (row.kind, row.headline) == (kind, headline)), None)

    def errors(self) -> Errors:
        """Counts by kind and headline, as a classifier carries them in `errors`."""
        return {(row.kind, row.headline): row.as_error_counts() for row in self.rows}

    def expect(self, classifier: str, rubric: str) -> None:
        """Check that it is of this classifier under this rubric: errors of another one correct nothing.

        Raises:
            InputError: It is not; one line with both.
        """
        if (self.classifier, self.rubric) != (classifier, rubric):
            raise InputError(
                f"the calibration is of {self.classifier} under {self.rubric}, the judgements are by {classifier} "
                f"under {rubric}; judge with the first, or validate the second with: nla-eval validate sheet"
            )


def read_calibration(path: Path) -> CalibrationFile:
    """Read a calibration file. Raises InputError with its name and the first mistake in it."""
    try:
        return CalibrationFile.model_validate_json(path.read_bytes())
    except OSError as err:
        raise InputError(f"calibration {path.name}: {err.strerror}; nla-eval validate merge writes one") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        reason = one_line(f"{where}{first['msg']}")
        raise InputError(f"calibration {path.name}: {reason}; nla-eval validate merge writes one") from err


def write_calibration(path: Path, calibration: CalibrationFile) -> None:
    """Write a calibration file, whole or not at all."""
    with written(path) as part:
        part.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")


def error_counts(calibrations: Sequence[CalibrationFile], classifier: str, rubric: str) -> Errors | None:
    """The counts of the calibration of this classifier under this rubric; None where none is.

    Raises:
        InputError: Two are.
    """
    own = [c for c in calibrations if (c.classifier, c.rubric) == (classifier, rubric)]
    if len(own) > 1:
        raise InputError(f"{len(own)} calibrations are of {classifier} under {rubric}; give one")
    return own[0].errors() if own else None
