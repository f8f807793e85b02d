"""The type that every estimator returns: a value with an interval, or the reason why either is withheld.

It is plain data. A withheld interval is a result, not an error: reports print the reason in place of the numbers."""

from __future__ import annotations

from dataclasses import dataclass

LEVEL = 0.95
"""Default confidence level of every interval."""


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its interval."""

    value: float | None
    """None if it cannot be computed."""
    low: float | None
    high: float | None
    n: int
    """Number of independent units: transcripts for Wilson, families (clusters) for cluster methods."""
    method: str
    """Name of the interval's method, which a reader can look up."""
    withheld: str | None = None
    """Why the interval (or the value) is missing."""
    one_sided: bool = False
    """One end is a bound at the full level, the other the end of the range: not to stand under "95 % intervals"."""

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def above_zero(self) -> bool:
        """Whether the interval lies above zero; False without one."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Resampling:
    """Settings of resampling estimators. The same settings give the same interval."""

    resamples: int = 2000
    seed: int = 0
    level: float = LEVEL


def withheld(value: float | None, n: int, method: str, reason: str) -> Estimate:
    """An estimate whose interval is missing for `reason`."""
    return Estimate(value=value, low=None, high=None, n=n, method=method, withheld=reason)
