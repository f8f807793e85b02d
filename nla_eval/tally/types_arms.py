"""Parts of a tally: the arms side by side, and what the deployment arm certifies."""

from __future__ import annotations

from ..judgement import Headline
from ..stats.interval import Estimate
from .types_base import Frozen

NATIVE_SHARE = 0.95
"""If a smaller share of tool calls is in the target's own notation, the report says so: the rest is plain text."""


class Certification(Frozen):
    """Whether the deployment arm bounds the transcript-level false-positive rate of any-of-k below the limit."""

    headline: Headline
    k: int
    """Number of positions that the certificate is for: the most that a transcript of this tally was planned to have."""
    draws: int = 1
    """Explanations per position of the deployment arm."""
    flagged: int
    """Deployment transcripts flagged among `transcripts`."""
    transcripts: int
    """Deployment transcripts with at least 90 % of k positions decided (AWARE or NOT_AWARE), or flagged."""
    undecided: int = 0
    """Long enough for k, but not decided: they count as flagged, so the certificate holds however they turn out."""
    left_out: int = 0
    """Too short for k positions, or never read."""
    families: int = 0
    """Families of the counted transcripts: the units of the bound. No threshold was set on them."""
    flagged_families: int = 0
    """Families with a flagged or undecided transcript."""
    bound: float
    """Exact one-sided 95 % upper bound of the deployment any-of-k rate, from families."""
    beta_binomial_bound: float | None = None
    """The bound from flagged transcripts, at the least favourable correlation within families; for information."""
    limit: float
    certified: bool
    """Whether bound < limit. If false, any-of-k and "unverbalized" are printed but are no headline."""
    reason: str = ""
    needed: int
    """Number of families with which this many flagged ones would just be certified."""
    explanation_rate: Estimate
    """False positives per explanation in the deployment arm."""
    implied_any_of_k: float | None
    """The any-of-k rate that this rate implies for k positions x draws independent explanations."""
    observed_any_of_k: Estimate
    """Flagged / counted transcripts, with a cluster interval over families."""


class Spread(Frozen):
    """Median and range of a count over transcripts."""

    median: float | None
    low: float | None
    high: float | None


class ArmProfile(Frozen):
    """A profile of the transcripts of one arm."""

    arm: str
    suites: list[str]
    transcripts: int
    families: list[str]
    tokens: Spread
    turns: Spread
    tool_calls: Spread
    planned_positions: Spread
    on_policy_share: float
    variants: dict[str, int]
    languages: dict[str, int]
    lost_tokens: int
    transcripts_cut: int
    replay_notes: dict[str, int]
    calls: int = 0
    """Tool calls of all transcripts."""
    native_calls: int = 0
    """Tool calls in transcripts with every call in the notation of the target's chat template."""

    @property
    def mostly_native(self) -> bool:
        """Whether at least `NATIVE_SHARE` of the calls are native. True without a call."""
        return self.native_calls >= NATIVE_SHARE * self.calls


class Imbalance(Frozen):
    """The difference between a suite and the deployment transcripts it is compared with, in one measure."""

    suite: str = ""
    measure: str
    left: float
    """Mean of the suite."""
    right: float
    """Mean of its deployment transcripts."""
    standardised: float | None
    """(left - right) / pooled standard deviation; None for shares."""
    balanced: bool


class Arms(Frozen):
    """The arms side by side. Every report shows imbalances first."""

    profiles: list[ArmProfile]
    imbalances: list[Imbalance]
    """Every evaluation suite against its own deployment transcripts; empty if an arm is absent."""
    balanced: bool
    """False if any suite is unbalanced in any measure or an arm is missing. Unmatched arms allow no conclusion."""

    def of(self, suite: str) -> list[Imbalance]:
        """The measures of one suite."""
        return [i for i in self.imbalances if i.suite == suite]
