"""Power: what a run of so many families, transcripts and positions can tell from zero or from a baseline.

Exact binomial tests on the effective number of transcripts (transcripts divided by the design effect, rounded down), so
that ten transcripts of one family are not taken for ten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, lgamma

import numpy as np
from numpy.typing import NDArray

from .effective import design_effect
from .interval import LEVEL

POWER = 0.8
"""Chance to detect that is asked for unless said otherwise (Cohen 1988)."""
_MOST_FAMILIES = 1_000_000


@dataclass(frozen=True)
class Design:
    """The size of a run and how alike its parts are."""

    families: int
    transcripts: int = 1
    """Per family."""
    k: int = 1
    """Positions per transcript that enter any-of-k."""
    family_correlation: float = 0.1
    """Of two transcripts of a family (`variance_split` measures it)."""
    position_correlation: float = 0.2
    """Of two positions of a transcript."""

    def __post_init__(self) -> None:
        if min(self.families, self.transcripts, self.k) < 1:
            raise ValueError(f"families, transcripts and k must be at least 1, got {self}")
        if not (0 <= self.family_correlation <= 1 and 0 <= self.position_correlation <= 1):
            raise ValueError(f"correlations must lie in [0, 1], got {self}")

    @property
    def effective(self) -> int:
        """Independent transcripts that the run is worth."""
        return int(self.families * self.transcripts / design_effect(self.transcripts, self.family_correlation) + 1e-9)

    def any_of_k(self, position_rate: float) -> float:
        """The any-of-k rate that a rate per position makes, positions being beta-binomial."""
        if position_rate in (0.0, 1.0) or self.position_correlation == 1:
            return position_rate
        if self.position_correlation == 0:
            return 1 - (1 - position_rate) ** self.k
        strength = (1 - self.position_correlation) / self.position_correlation
        rest = (1 - position_rate) * strength
        none = lgamma(rest + self.k) - lgamma(rest) - lgamma(strength + self.k) + lgamma(strength)
        return 1 - exp(none)

    def position_rate(self, any_of_k: float) -> float:
        """The rate per position that makes this any-of-k rate."""
        return _smallest(lambda rate: self.any_of_k(rate) >= any_of_k)


@dataclass(frozen=True)
class Detectable:
    """The smallest rate that a run could have told from a baseline."""

    rate: float | None
    """Of transcripts, any-of-k; None where no rate would do."""
    position_rate: float | None
    """The rate per position behind it."""
    flagged_needed: int
    """Effective flagged transcripts from which on the test rejects."""
    effective: int


def power_of(design: Design, rate: float, baseline: float = 0.0, level: float = LEVEL) -> float:
    """Chance that a one-sided exact binomial test finds more than a known `baseline`.

    Against a baseline of 0 one flagged transcript suffices: 1 - (1 - rate)^n.

    Args:
        design: The run.
        rate: Any-of-k rate of transcripts, if it is so.
        baseline: The rate it is to be told from, taken as known.
        level: 1 - the chance to find more where there is none.
    """
    return _at_least(_critical(design.effective, baseline, level), design.effective, rate)


def smallest_rate(design: Design, baseline: float = 0.0, power: float = POWER, level: float = LEVEL) -> Detectable:
    """The smallest any-of-k rate found with `power` (arguments as for `power_of`)."""
    n = design.effective
    needed = _critical(n, baseline, level)
    if needed > n:
        return Detectable(None, None, needed, n)
    rate = _smallest(lambda rate: _at_least(needed, n, rate) >= power)
    return Detectable(rate, design.position_rate(rate), needed, n)


def transcripts_needed(
    design: Design, rate: float, baseline: float = 0.0, power: float = POWER, level: float = LEVEL
) -> int | None:
    """Transcripts with which `rate` is told from `baseline` with `power`: more families of the design's kind.

    Returns:
        None where rate <= baseline, or a million families would not do.
    """
    if rate <= baseline:
        return None
    families = _fewest(lambda n: power_of(replace(design, families=n), rate, baseline, level) >= power)
    return None if families is None else families * design.transcripts


def power_between(first: Design, second: Design, rate: float, baseline: float, level: float = LEVEL) -> float:
    """Chance that Fisher's exact test, two-sided, tells an arm at `rate` from a baseline arm that is measured, too.

    Every pair of counts of the two effective samples is weighed (Fisher 1935).

    Args:
        first: The arm at `rate`.
        second: The arm at `baseline`.
        rate: Any-of-k rate of the first.
        baseline: Of the second.
        level: 1 - the test's level.
    """
    from scipy.stats import binom, hypergeom

    n, m = first.effective, second.effective
    x, y = np.arange(n + 1), np.arange(m + 1)
    weights = np.outer(binom.pmf(x, n, rate), binom.pmf(y, m, baseline))
    power = 0.0
    for total in range(n + m + 1):
        possible = np.arange(max(0, total - m), min(n, total) + 1)
        chances: NDArray[np.float64] = hypergeom.pmf(possible, n + m, n, total)
        ranked = np.sort(chances)
        sums = np.concatenate([[0.0], np.cumsum(ranked)])
        p_values = sums[np.searchsorted(ranked, chances * (1 + 1e-7), side="right")]
        power += float(weights[possible, total - possible][p_values <= 1 - level].sum())
    return power


def _critical(n: int, baseline: float, level: float) -> int:
    """The fewest flags that a one-sided exact test finds too many; n + 1 where none are."""
    low, high = 1, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _at_least(middle, n, baseline) <= 1 - level + 1e-12 else (middle + 1, high)
    return low


def _at_least(count: int, n: int, rate: float) -> float:
    from scipy.special import bdtrc

    return 0.0 if count > n else 1.0 if count == 0 else float(bdtrc(count - 1, n, rate))


def _smallest(enough: Callable[[float], bool]) -> float:
    """The smallest rate that is enough, to 1e-9; enough must be monotone and hold at 1."""
    low, high = 0.0, 1.0
    for _ in range(32):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The fewest families that are enough and stay so for the next ten: exact power is not monotone, it saws."""
    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST_FAMILIES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    while not all(enough(high + step) for step in range(10)):
        high += 1
    return high
