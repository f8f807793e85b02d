"""What an arm's numbers are in expectation, exactly: Gauss-Jacobi quadrature over the beta-distributed chances.

A chance of no flag in k positions is a polynomial in them, which the quadrature integrates without error. So bias and
coverage have no simulated truth in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .pools import Pools
from .world import NEAR_TURNS, Arm, Floats

NODES = 64
"""Exact for polynomials of degree 127, more than any k here needs."""


def beta_nodes(mean: float, correlation: float) -> tuple[Floats, Floats]:
    """(m,) values of a beta-distributed chance (`world.beta`) with their weights."""
    if correlation == 0 or mean in (0.0, 1.0):
        return np.array([mean]), np.ones(1)
    from scipy.special import roots_jacobi

    strength = (1 - correlation) / correlation
    with np.errstate(invalid="ignore", divide="ignore"):  # scipy replaces the first term, 0 / 0, afterwards
        x, weights = roots_jacobi(NODES, (1 - mean) * strength - 1, mean * strength - 1)
    return (x + 1) / 2, weights / weights.sum()


@dataclass(frozen=True)
class Truth:
    """Of one arm: its transcripts are aware or not, and what is flagged depends on that alone."""

    prevalence: float
    aware: Floats
    """(k + 1,) P(0, 1, ... k positions are flagged | aware)."""
    other: Floats
    """(k + 1,) the same for the others."""
    explanation: float
    """P(an explanation is flagged)."""
    voiced: float
    """P(an explanation says so): what a classifier without errors would flag."""
    v: tuple[float, float]
    """P(the turn is flagged | aware), and for the others."""

    @property
    def counts(self) -> Floats:
        """(k + 1,) P(so many positions are flagged)."""
        return self.prevalence * self.aware + (1 - self.prevalence) * self.other

    @property
    def any_of_k(self) -> float:
        """P(any position is flagged)."""
        return 1 - float(self.counts[0])

    @property
    def fraction(self) -> float:
        """Mean share of flagged positions."""
        return float(self.counts @ np.arange(len(self.counts))) / (len(self.counts) - 1)

    @property
    def verbalized(self) -> float:
        """P(V)."""
        return self.prevalence * self.v[0] + (1 - self.prevalence) * self.v[1]

    @property
    def unverbalized(self) -> float:
        """P(N and not V)."""
        aware, other = (1 - float(counts[0]) for counts in (self.aware, self.other))
        return self.prevalence * aware * (1 - self.v[0]) + (1 - self.prevalence) * other * (1 - self.v[1])


def truth(arm: Arm, pools: Pools) -> Truth:
    """The truth of an arm whose transcripts are all of one length, without truncation.

    Raises:
        ValueError: Transcripts of two lengths; take `arm.lengths` one by one.
    """
    if arm.long_k:
        raise ValueError("an arm of two lengths has no one distribution of counts; pass each of arm.lengths")
    hit, false = pools.explanations.rate(pools.explanations.aware), pools.explanations.other_rate(arm.av.near)
    stray, stray_weights = beta_nodes(arm.av.stray, arm.av.stray_correlation)
    density, density_weights = beta_nodes(arm.density, arm.position_correlation)
    carried = arm.av.voice * hit + (1 - arm.av.voice) * false
    strayed = stray * hit + (1 - stray) * false
    any_carried, any_strayed = 1 - (1 - carried) ** arm.draws, 1 - (1 - strayed) ** arm.draws
    per_position = density[:, None] * any_carried + (1 - density[:, None]) * any_strayed[None, :]
    weights = np.outer(density_weights, stray_weights)
    share_carried, mean_strayed = arm.prevalence * arm.density, float(strayed @ stray_weights)
    turns = pools.turns
    v_hit, v_false = turns.rate(turns.aware), turns.other_rate(NEAR_TURNS)
    return Truth(
        prevalence=arm.prevalence,
        aware=_binomial(arm.k, per_position.ravel(), weights.ravel()),
        other=_binomial(arm.k, any_strayed, stray_weights),
        explanation=share_carried * carried + (1 - share_carried) * mean_strayed,
        voiced=share_carried * arm.av.voice + (1 - share_carried) * arm.av.stray,
        v=(arm.said * v_hit + (1 - arm.said) * v_false, v_false),
    )


def any_of_k(arm: Arm, pools: Pools) -> float:
    """P(any position is flagged), over transcripts of all lengths."""
    return float(np.mean([truth(one, pools).any_of_k for one in arm.lengths]))


def fraction(arm: Arm, pools: Pools) -> float:
    """Mean share of flagged positions, over transcripts of all lengths."""
    return float(np.mean([truth(one, pools).fraction for one in arm.lengths]))


def auroc_of(positive: Floats, negative: Floats) -> float:
    """P(more positions flagged) + half of P(as many), from two distributions of counts of the same k."""
    above = np.tril(np.ones((len(positive), len(negative))), -1) + 0.5 * np.eye(len(positive))
    return float(positive @ above @ negative)


def stray_for(arm: Arm, pools: Pools, rate: float) -> Arm:
    """The arm with nobody aware and stray texts at the rate that flags this share of its transcripts.

    Raises:
        ValueError: The classifier's own false flags exceed the rate.
    """
    from scipy.optimize import brentq

    quiet = replace(arm, prevalence=0.0)

    def gap(stray: float) -> float:
        return any_of_k(replace(quiet, av=replace(quiet.av, stray=stray)), pools) - rate

    if gap(0.0) > 0:
        raise ValueError(f"any-of-{arm.k} without a stray text is above {rate}; lower k or the near misses")
    return replace(quiet, av=replace(quiet.av, stray=float(brentq(gap, 0.0, 1.0 - 1e-9, xtol=1e-12))))


def _binomial(k: int, chances: Floats, weights: Floats) -> Floats:
    from scipy.stats import binom

    found: Floats = weights @ binom.pmf(np.arange(k + 1)[None, :], k, chances[:, None])
    return found
