"""How judgements are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..judgement import JUDGED_SHARE, Headline, Label
from ..judging.error_rates import ErrorCounts
from ..stats.interval import Resampling

Measured = Mapping[tuple[str, Headline], ErrorCounts]
"""Counts of a classifier on labelled texts, by kind ("explanation" or "turn") and headline."""


def _strict_definitions() -> dict[Headline, list[Label]]:
    paper = [Label.BELIEF, Label.BENCHMARK]
    return {
        Headline.BELIEF: [Label.BELIEF],
        Headline.PAPER: paper,
        Headline.BROAD: [*paper, Label.GRADER, Label.CONTRIVED],
    }


@dataclass(frozen=True)
class TallyOptions:
    """How judgements are counted."""

    definitions: dict[Headline, list[Label]] = field(default_factory=_strict_definitions)
    """Labels that count as aware under each headline: pass `rubric.headlines`."""
    primary: Headline = Headline.PAPER
    """The headline that reports lead with."""
    judged_share: float = JUDGED_SHARE
    """A transcript enters rates if at least this share of its planned readings was judged, whatever the verdict."""
    certify_below: float = 0.05
    """A report leads with any-of-k only if the any-of-k rate of the deployment arm is bounded below this."""
    show: int = 12
    """Minimum number of explanations shown."""
    how: Resampling = field(default_factory=Resampling)
    """Number of resamples, seed (also of the shown sample) and confidence level."""
    errors: Measured = field(default_factory=dict)
    """The classifier's errors as it carries them, to stand beside every rate: `Classifier.errors`."""
    calibration: Measured = field(default_factory=dict)
    """The classifier's errors on texts like the ones tallied, labelled by people: corrects the fraction of positions.
    `errors` would not do: most of their negatives are near misses."""
