"""How alike two groups are: the standardised mean difference, and a one-to-one matching that makes it small.

Stuart 2010 (doi:10.1214/09-STS313) and Austin 2009 (doi:10.1002/sim.3697): differences are divided by one and the same
standard deviation before and after matching, or matching would change the ruler with the thing measured."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, pvariance

import numpy as np
from numpy.typing import NDArray

UNBALANCED = 0.25
"""Absolute differences above this are called unbalanced (Stuart 2010, after Rubin 2001)."""


def pooled_deviation(left: Sequence[float], right: Sequence[float]) -> float:
    """Square root of the mean of both population variances; 0 where neither group varies."""
    return sqrt((pvariance(left) + pvariance(right)) / 2)


def standardised_difference(left: Sequence[float], right: Sequence[float], deviation: float) -> float | None:
    """(mean of left - mean of right) / deviation.

    Args:
        left: One value a member.
        right: Likewise.
        deviation: `pooled_deviation` of the groups as they were before matching.

    Returns:
        None where the deviation is 0 and the means differ: no ruler. 0 where the means are equal.
    """
    gap = fmean(left) - fmean(right)
    if gap == 0:
        return 0.0
    return gap / deviation if deviation > 0 else None


def nearest_pairs(wanted: NDArray[np.float64], donors: NDArray[np.float64]) -> list[int]:
    """A different donor for each of `wanted`, such that the sum of squared distances is as small as can be.

    Optimal and not greedy, so that the order of rows does not matter where distances differ (Rosenbaum 1989,
    doi:10.1080/01621459.1989.10478868).

    Args:
        wanted: (W, F) standardised covariates.
        donors: (D, F) likewise, D at least W.

    Returns:
        Row numbers of donors, one for each row of `wanted`, in its order.

    Raises:
        ValueError: Fewer donors than wanted, or other columns.
    """
    if len(donors) < len(wanted) or wanted.shape[1:] != donors.shape[1:]:
        raise ValueError(f"{len(donors)} donors of {donors.shape[1:]} for {len(wanted)} of {wanted.shape[1:]}")
    cost = (wanted**2).sum(1)[:, None] + (donors**2).sum(1)[None, :] - 2 * wanted @ donors.T
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    return [int(column) for _, column in sorted(zip(rows, columns, strict=True))]
