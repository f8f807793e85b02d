"""Permutation test of N between two arms: could chance assignment of families to arms explain the difference?

It exchanges families, not transcripts, because a whole family belongs to one arm. It is exact if every split of the
families can be enumerated, otherwise Monte Carlo."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from .alike import alike
from .bootstrap import Floats, ratio, totals
from .interval import Resampling

EXACT_SPLITS = 20_000
"""All splits are enumerated up to this number (8 against 8 families: 12,870)."""
TOLERANCE = 1e-12
"""Splits this close to the observed difference count as equally extreme."""


@dataclass(frozen=True)
class PermutationTest:
    """The result of one test."""

    difference: float
    """Mean of the first arm minus mean of the second."""
    p_value: float
    """Two-sided."""
    splits: int
    exact: bool


def permutation_test(
    a: Sequence[float],
    clusters_a: Sequence[Hashable],
    b: Sequence[float],
    clusters_b: Sequence[Hashable],
    how: Resampling,
) -> PermutationTest | None:
    """Test mean(a) = mean(b) by exchanging whole families between the arms.

    Monte Carlo p-values include the observed split, so they are never zero (Phipson and Smyth 2010). The smallest
    p-value with G families is 1 / C(G, G_a), whatever the number of transcripts.

    Returns:
        None when an arm is empty.
    """
    if not clusters_a or not clusters_b:
        return None
    left, right = totals(clusters_a, a, [1.0] * len(a)), totals(clusters_b, b, [1.0] * len(b))
    sums, size = np.concatenate([left, right]), len(left)
    total = sums.sum(axis=0)
    observed = _differences(left.sum(axis=0)[None, :], total)[0]
    splits = comb(len(sums), size)
    exact = splits <= EXACT_SPLITS
    if exact:
        firsts = _every_split(len(sums), size) @ sums
    else:
        families = alike(sums)
        firsts = _random_splits(families.counts, size, how) @ families.rows
    extreme = int((np.abs(_differences(firsts, total)) >= abs(observed) - TOLERANCE).sum())
    p_value = extreme / splits if exact else (extreme + 1) / (len(firsts) + 1)
    return PermutationTest(float(observed), p_value, len(firsts), exact)


def _differences(firsts: Floats, total: Floats) -> Floats:
    """(B,) mean of the first arm minus mean of the second, from (B, 2) sums of the first and (2,) of both."""
    seconds = total - firsts
    return ratio(firsts[:, 0], firsts[:, 1]) - ratio(seconds[:, 0], seconds[:, 1])


def _every_split(n: int, size: int) -> Floats:
    chosen = np.array(list(combinations(range(n), size)))
    masks = np.zeros((len(chosen), n))
    np.put_along_axis(masks, chosen, 1.0, axis=1)
    return masks


def _random_splits(counts: Floats, size: int, how: Resampling) -> Floats:
    """(B, K) how many families of each kind are in the first arm."""
    rng = np.random.default_rng(how.seed)
    if counts.max() == 1:
        return (rng.random((how.resamples, len(counts))).argsort(axis=1) < size).astype(np.float64)
    drawn = rng.multivariate_hypergeometric(counts.astype(np.int64), size, size=how.resamples, method="marginals")
    return drawn.astype(np.float64)
