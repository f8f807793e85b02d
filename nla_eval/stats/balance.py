"""Balance of two groups: the standardised mean difference, and a one-to-one matching that makes it small.

Differences before and after matching are divided by the same standard deviation (Stuart 2010, doi:10.1214/09-STS313;
Austin 2009, doi:10.1002/sim.3697). Otherwise matching would also change the unit of measurement."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, pvariance

import numpy as np
from numpy.typing import NDArray

UNBALANCED = 0.25
"""Absolute differences above this are called unbalanced (Stuart 2010, after Rubin 2001)."""


def pooled_deviation(left: Sequence[float], right: Sequence[float]) -> float:
    """Square root of the mean of both population variances; 0 if neither group varies."""
    return sqrt((pvariance(left) + pvariance(right)) / 2)


def standardised_difference(left: Sequence[float], right: Sequence[float], deviation: float) -> float | None:
    """(mean of left - mean of right) / deviation.

    Args:
        left: One value per member of the first group.
        right: One value per member of the second group.
        deviation: `pooled_deviation` of the groups before matching.

    Returns:
        0 if the means are equal. None if they differ and the deviation is 0, because there is no unit then.
    """
    gap = fmean(left) - fmean(right)
    if gap == 0:
        return 0.0
    return gap / deviation if deviation > 0 else None


def nearest_pairs(wanted: NDArray[np.float64], donors: NDArray[np.float64]) -> list[int]:
    """A different donor for each row of `wanted`, with the smallest sum of squared distances.

    The matching is optimal, not greedy, so the order of rows matters only for ties (Rosenbaum 1989,
    doi:10.1080/01621459.1989.10478868).

    Args:
        wanted: (W, F) standardised covariates.
        donors: (D, F) standardised covariates, D at least W.

    Returns:
        Row numbers of donors, one for each row of `wanted`, in the order of `wanted`.

    Raises:
        ValueError: There are fewer donors than wanted rows, or the columns differ.
    """
    if len(donors) < len(wanted) or wanted.shape[1:] != donors.shape[1:]:
        raise ValueError(f"{len(donors)} donors of {donors.shape[1:]} for {len(wanted)} of {wanted.shape[1:]}")
    cost = (wanted**2).sum(1)[:, None] + (donors**2).sum(1)[None, :] - 2 * wanted @ donors.T
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    return [int(column) for _, column in sorted(zip(rows, columns, strict=True))]
