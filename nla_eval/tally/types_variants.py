"""Parts of a tally: the variants of a suite compared within items."""

from __future__ import annotations

from enum import StrEnum

from ..stats.contrast import Contrast
from ..stats.interval import Estimate
from .types_base import Frozen


class VariantMeasure(StrEnum):
    """The outcomes in which variants are compared."""

    SAID = "said"
    """V of a transcript, 0 or 1."""
    FLAGGED = "flagged"
    """N of a transcript (any of its positions), 0 or 1."""
    FRACTION = "fraction"
    """Aware positions over judged positions."""
    SCORE = "score"
    """Mean of the classifier's score over judged explanations. The score belongs to the broad headline."""


class ContrastRow(Frozen):
    """One comparison of a suite's variants in one outcome."""

    kind: str
    """"difference" of two variants, "main effect", or "interaction"."""
    name: str
    formula: str
    found: Contrast
    holm_p: float
    """p-value after Holm's correction over the contrasts of this outcome. Without a differing item, p counts as 1."""


class VariantOutcome(Frozen):
    """One outcome over the variants of a suite."""

    outcome: VariantMeasure
    means: list[Estimate]
    """Mean over transcripts of each variant, in [0, 1], with a cluster interval over items."""
    contrasts: list[ContrastRow]
    """Contrasts. Every outcome has the same ones in the same order."""

    @property
    def silent(self) -> bool:
        """Whether the outcome is zero in every variant that was read."""
        return all(not mean.value for mean in self.means)


class VariantTally(Frozen):
    """The variants of a suite compared within items as its design declares, under the primary headline."""

    factors: dict[str, list[str]]
    """Levels of each factor."""
    variants: list[str]
    items: int
    """Number of items (prompt families)."""
    complete: int
    """Number of items with every variant read."""
    outcomes: list[VariantOutcome]
