"""Parts of a tally: how judges behaved and agreed."""

from __future__ import annotations

from ..judgement import Headline, JudgeCheck
from .types_base import Frozen


class JudgeTally(Frozen):
    """How one judge behaved."""

    classifier: str
    rubric: str
    check: JudgeCheck | None
    """What it made of the known texts, the worst where there are several; None where nobody looked."""
    asked: int
    """Judgements of texts it was shown: explanations and parts of turns."""
    unparsed: int
    errors: int
    causes: dict[str, int]
    """Why judgements are UNPARSED or ERROR, with counts."""
    stopped: str = ""
    """Why there is no headline with this judge; empty where there may be."""


class PairAgreement(Frozen):
    """Two judges on the texts that both judged, under one headline."""

    of: str
    """"explanations" or "turns"."""
    left: str
    right: str
    texts: int
    both: int
    """Texts AWARE by both."""
    left_only: int
    right_only: int
    observed: float | None
    """Share of texts with the same outcome."""
    kappa: float | None
    """Cohen's; None where both are constant."""
    ac1: float | None
    """Gwet's."""

    @property
    def leakage(self) -> bool:
        """Whether this is one model told its suite's line (left) and another suite's (right)."""
        return self.right == f"{self.left.partition('+')[0]}+swapped" and "+blurb" in self.left


class Agreement(Frozen):
    """Several judges on the same texts."""

    headline: Headline
    judges: list[str]
    pairs: list[PairAgreement]
    alpha: dict[str, float | None]
    """Krippendorff's alpha over all judges, by "explanations" and "turns"."""
