"""What one replication of a planted world yields, and what many of them come to.

A finding is an interval with the truth it should hold, a point with its truth, a p-value where nothing is there to be
found, or a claim that may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from ..stats.interval import Estimate, Resampling

ALPHA = 0.05
"""Level of tests, claims and intervals."""


@dataclass(frozen=True)
class Covered:
    """An interval, and the truth."""

    estimate: Estimate
    truth: float

    @property
    def holds(self) -> bool:
        """Whether the truth lies in the interval."""
        low, high = self.estimate.low, self.estimate.high
        return low is not None and high is not None and low - 1e-12 <= self.truth <= high + 1e-12


@dataclass(frozen=True)
class Valued:
    """A number printed without an interval, and the truth."""

    value: float | None
    truth: float


@dataclass(frozen=True)
class PValue:
    """The p-value of a test where there is nothing to be found; None where none is printed."""

    p_value: float | None


@dataclass(frozen=True)
class Claimed:
    """Something that a report would say, or not say."""

    wrongly: bool


Finding = Covered | Valued | PValue | Claimed
Trial = Callable[[np.random.Generator, Resampling], Mapping[str, Finding]]


@dataclass(frozen=True)
class Study:
    """A planted world and what is computed in it."""

    key: str
    world: str
    """The world in a few words, for the page."""
    trial: Trial
    """One replication: findings by name."""
    naive: Mapping[str, str] = field(default_factory=dict)
    """Names of naive ways among the findings, with the name of the right way that stands beside each."""


@dataclass(frozen=True)
class Line:
    """One finding of one study over its replications."""

    study: str
    world: str
    name: str
    replications: int
    given: int
    """Replications in which it was not withheld."""
    instead: str
    """Name of the right way, if this is a naive one; else empty."""


@dataclass(frozen=True)
class IntervalLine(Line):
    """Bias and coverage."""

    truth: float
    bias: float
    """Mean value less truth, where given."""
    coverage: float | None
    """Share of the intervals given that hold the truth; None for a point without an interval."""
    width: float | None
    """Median width."""

    @property
    def error(self) -> float | None:
        """Standard error of the coverage."""
        return None if self.coverage is None else _error(self.coverage, self.given)


@dataclass(frozen=True)
class RateLine(Line):
    """How often a test rejects, or a claim is wrong, among all replications: a withheld one does neither."""

    rate: float
    claim: bool

    @property
    def error(self) -> float:
        """Standard error of the rate."""
        return _error(self.rate, self.replications)


def summarise(study: Study, found: Sequence[Mapping[str, Finding]]) -> list[Line]:
    """A line for each finding, in the order of the first replication."""
    return [_line(study, name, [one[name] for one in found]) for name in found[0]]


def _line(study: Study, name: str, found: Sequence[Finding]) -> Line:
    intervals = [f for f in found if isinstance(f, Covered)]
    values = [f for f in found if isinstance(f, Valued)]
    if intervals:
        return _interval_line(study, name, intervals)
    if values:
        given = [f for f in values if f.value is not None]
        bias = float(np.mean([(f.value or 0.0) - f.truth for f in given])) if given else float("nan")
        truth = float(np.mean([f.truth for f in values]))
        instead = study.naive.get(name, "")
        return IntervalLine(study.key, study.world, name, len(values), len(given), instead, truth, bias, None, None)
    claims = [f for f in found if isinstance(f, Claimed)]
    wrong = [f.wrongly for f in claims] or [rejects(f.p_value) for f in found if isinstance(f, PValue)]
    given_tests = sum(isinstance(f, Claimed) or (isinstance(f, PValue) and f.p_value is not None) for f in found)
    return RateLine(
        study=study.key,
        world=study.world,
        name=name,
        replications=len(found),
        given=given_tests,
        instead=study.naive.get(name, ""),
        rate=float(np.mean(wrong)),
        claim=bool(claims),
    )


def _interval_line(study: Study, name: str, found: Sequence[Covered]) -> IntervalLine:
    given = [f for f in found if f.estimate.has_interval]
    valued = [f for f in found if f.estimate.value is not None]
    return IntervalLine(
        study=study.key,
        world=study.world,
        name=name,
        replications=len(found),
        given=len(given),
        instead=study.naive.get(name, ""),
        truth=float(np.mean([f.truth for f in found])),
        bias=float(np.mean([(f.estimate.value or 0.0) - f.truth for f in valued])) if valued else float("nan"),
        coverage=float(np.mean([f.holds for f in given])) if given else None,
        width=float(np.median([(f.estimate.high or 0.0) - (f.estimate.low or 0.0) for f in given])) if given else None,
    )


def rejects(p_value: float | None) -> bool:
    """Whether a p-value is at most the level; a test that is not printed does not reject."""
    return p_value is not None and p_value <= ALPHA + 1e-12


def excludes(estimate: Estimate, value: float) -> Claimed:
    """The claim that a quantity is not `value`, where it is, because its interval does not hold it."""
    return Claimed(estimate.has_interval and not Covered(estimate, value).holds)


def _error(share: float, n: int) -> float:
    return sqrt(max(share * (1 - share), 1e-12) / n) if n else float("nan")
