"""Parts of a tally: one lane of a suite, and a lane or suite against another."""

from __future__ import annotations

from enum import StrEnum
from math import isclose

from pydantic import Field

from ..stats.anyk import KPoint
from ..stats.bounds import Bounds
from ..stats.first_aware import FirstAware as Unaware
from ..stats.interval import Estimate
from ..stats.permutation import PermutationTest
from .types_base import Frozen


class LaneState(StrEnum):
    """What became of a lane in a suite."""

    NOT_READ = "not read"
    NOT_JUDGED = "not judged"
    """There are readings, but no judgement of any of them could be used."""
    JUDGED = "judged"


class TranscriptRate(Frozen):
    """How many transcripts are aware, of those with enough judged: one rule, whatever the verdict."""

    aware: int
    """Admitted and aware. A transcript is admitted if at least 90 % of its planned readings were judged."""
    not_aware: int
    """Admitted and not aware."""
    indeterminate: int
    """Not admitted, and no judgement is aware."""
    aware_incomplete: int = 0
    """Not admitted, but a judgement is aware. In the bounds, not in the rate: counting them would count the incomplete
    only when aware."""
    rate: Estimate
    """aware / (aware + not_aware) with Wilson's interval, which assumes independent transcripts."""
    by_family: Estimate
    """The same rate with a cluster interval over families, and over donors where activations are reused."""
    bounds: Bounds
    """(aware + aware_incomplete) / all to (aware + aware_incomplete + indeterminate) / all."""

    @property
    def printed(self) -> Estimate:
        """The rate with the interval that reports print; see `printed`."""
        return printed(self.rate, self.by_family, self.aware + self.not_aware)

    @property
    def left_out(self) -> int:
        """Transcripts that are in the bounds, not in the rate."""
        return self.indeterminate + self.aware_incomplete


def printed(wilson: Estimate, by_family: Estimate, transcripts: int) -> Estimate:
    """A rate with the interval that holds: over families (and donors) if transcripts share any, else Wilson's."""
    shared = by_family.value is not None and by_family.n < transcripts
    same = wilson.value is not None and by_family.value is not None and isclose(wilson.value, by_family.value)
    return by_family if shared and same else wilson


class FirstAware(Frozen):
    """Location of the first aware position, over the transcripts that have one."""

    transcripts: int
    median_token: float | None
    """Of those transcripts only: early wherever transcripts are short. `LaneTally.unaware` censors instead."""
    median_depth: float | None
    """Token index divided by the transcript's number of tokens, 0 to 1."""


class LaneTally(Frozen):
    """One lane of one suite under one headline."""

    lane: str
    k_planned: tuple[int, int]
    """Smallest and largest number of planned positions per transcript: the declared k of any-of-k."""
    draws: int = 1
    """Explanations per position of this suite in this lane."""
    admitted: int = 0
    """Transcripts with at least 90 % of their planned readings judged: the ones in every rate below but the
    explanation rate."""
    donors: int | None = None
    """Transcripts whose activations fill the slots; None where a lane borrows from no single transcript."""
    any_of_k: TranscriptRate
    """A transcript is aware if any judged position is; a position is aware if any of its draws is."""
    fraction: Estimate
    """Mean over transcripts of aware positions / judged positions, with a cluster interval (over families and donors
    where activations are reused). Under a stratified policy a channel weighs its tokens in the transcript; a transcript
    whose unread channels hold over 10 % of them has none."""
    corrected_fraction: Estimate | None = None
    """`fraction` corrected for the classifier's errors (Rogan-Gladen); None without a calibration."""
    explanation_rate: Estimate
    """Aware explanations / judged explanations, with a cluster interval. In the deployment arm: false positives."""
    implied_any_of_k: float | None = None
    """The any-of-k rate that `explanation_rate` implies for k positions x draws independent explanations."""
    first_aware: FirstAware
    unaware: Unaware | None = None
    """Share of transcripts not yet aware by token index, those without a flag censored at their last judged position.
    Of the measured lane under the primary headline only."""
    k_curve: list[KPoint]


class ControlComparison(Frozen):
    """The measured lane against one control lane, on the transcripts admitted in both."""

    lane: str
    pairs: int
    abbott: Estimate
    """(p - c) / (1 - c) of the any-of-k rates."""
    fraction_difference: Estimate
    """Fraction of aware positions, measured minus control."""


class ArmComparison(Frozen):
    """A suite against its deployment transcripts in the measured lane, both brought to the same k and draws."""

    k: int = 0
    """Positions of each transcript that are compared, drawn from the judged ones (exact expectation over all draws)."""
    draws: int = 1
    """Explanations per position that are compared."""
    by_channel: dict[str, int] = Field(default_factory=dict)
    """The k positions by channel, under a stratified policy; empty under a uniform one."""
    admitted: tuple[int, int] = (0, 0)
    """Transcripts of the suite and of deployment that supply k positions, whatever their verdict."""
    total: tuple[int, int] = (0, 0)
    """All transcripts of both."""
    rates: tuple[float | None, float | None] = (None, None)
    """Mean expected any-of-k of both at the common k."""
    rate_difference: Estimate | None = None
    """Of these rates, with a cluster interval."""
    auroc: Estimate
    """AUROC of the share of k positions that are aware, at the common k."""
    fraction_difference: Estimate
    """Fraction of aware positions, suite minus deployment, over admitted transcripts."""
    permutation: PermutationTest | None
    """Permutation test of any-of-k at the common k, exchanging families between the arms."""
    holm_p: float | None
    """The permutation p-value after Holm's correction over the suites of this tally."""
    bh_p: float | None = None
    """The same after Benjamini and Hochberg's: for a list of suites to follow up."""


class LaneScores(Frozen):
    """AR scores and variety of texts of one lane in one arm."""

    arm: str
    lane: str
    readings: int
    closed: int
    truncated_share: float | None
    unique_texts: int
    """Distinct closed explanations."""
    scored: int
    cos: float | None
    """Means over scores that are finite numbers."""
    fve_nrm: float | None
    fve_meannorm: float | None
    matched_minus_shuffled: float | None
