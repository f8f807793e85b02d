"""How often a classifier is wrong, as measured on labelled texts: what stands beside every rate (docs/method.md 4.16).

A classifier that was measured carries `errors`, one count per kind of text and headline. It knows no classifier by
name and no data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..judgement import Classifier, Headline
from ..stats.interval import Estimate
from ..stats.wilson import wilson

Kind = Literal["turn", "explanation"]
"""Turns give V, explanations N."""


@dataclass(frozen=True)
class ErrorCounts:
    """Flags of one classifier on labelled texts of one kind, under one headline. UNCLEAR is no flag."""

    hits: int
    """Texts labelled aware that were flagged."""
    positives: int
    """Texts labelled aware."""
    false: int
    """Texts labelled not aware that were flagged. Most of these are near misses, so real text has fewer."""
    negatives: int
    """Texts labelled not aware."""
    ordinary_false: int
    """Real texts of no evaluation that were flagged."""
    ordinary: int
    """Real texts of no evaluation."""


Errors = Mapping[tuple[str, Headline], ErrorCounts]
"""By kind and headline."""


@dataclass(frozen=True)
class ErrorRates:
    """Sensitivity and specificity of a classifier, with their counts; Wilson intervals over texts."""

    recall: Estimate
    """Flagged among those labelled aware (sensitivity)."""
    specificity: Estimate
    """Not flagged among labelled texts that are not aware, near misses included."""
    ordinary_specificity: Estimate
    """Not flagged among real texts of no evaluation."""
    counts: ErrorCounts


def classifier_error_rates(classifier: Classifier, kind: Kind, headline: Headline) -> ErrorRates | None:
    """The measured errors of `classifier`, or None where it carries none (an LLM judge, a classifier of a user's)."""
    errors: Errors = getattr(classifier, "errors", {})
    counts = errors.get((kind, headline))
    return None if counts is None else rates_of(counts)


def rates_of(counts: ErrorCounts) -> ErrorRates:
    """Sensitivity and specificity from counts."""
    return ErrorRates(
        recall=wilson(counts.hits, counts.positives),
        specificity=wilson(counts.negatives - counts.false, counts.negatives),
        ordinary_specificity=wilson(counts.ordinary - counts.ordinary_false, counts.ordinary),
        counts=counts,
    )
