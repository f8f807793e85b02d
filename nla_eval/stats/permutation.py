"""Permutation test of N between two arms: could chance assignment of families to arms explain the difference?

It exchanges families, not transcripts, because a whole family belongs to one arm. It is exact if every split of the
families can be enumerated, otherwise Monte Carlo. Splits are ranked by the difference over its standard error. Ranked
by the bare difference, the test needs arms that are alike in everything, and rejected 0.23 of null worlds with 60
families of 6 against 15 single transcripts, 0.006 with 12 families of 8 against 60 (1,000 worlds each)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

from .alike import alike
from .bootstrap import Floats, ratio, totals
from .interval import Resampling

EXACT_SPLITS = 20_000
"""All splits are enumerated up to this number (8 against 8 families: 12,870)."""
TOLERANCE = 1e-9
"""Splits this close to the observed one count as equally extreme."""


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

    Exact where families of both arms are distributed alike. Where only the means are alike, the studentised form holds
    in large samples and the bare difference does not (Janssen 1997, doi:10.1016/S0167-7152(97)00043-6; Chung and Romano
    2013, doi:10.1214/13-AOS1090). Monte Carlo p-values include the observed split, so they are never zero (Phipson and
    Smyth 2010). The smallest p-value with G families is 1 / C(G, G_a), whatever the number of transcripts.

    Returns:
        None when an arm is empty.
    """
    if not clusters_a or not clusters_b:
        return None
    left, right = totals(clusters_a, a, [1.0] * len(a)), totals(clusters_b, b, [1.0] * len(b))
    sums, size = np.concatenate([left, right]), len(left)
    moments = np.column_stack([sums, sums[:, 0] ** 2, sums[:, 0] * sums[:, 1], sums[:, 1] ** 2])
    total, sizes = moments.sum(axis=0), (size, len(right))
    difference, observed = (x[0] for x in _differences(moments[:size].sum(axis=0)[None, :], total, sizes))
    splits = comb(len(sums), size)
    exact = splits <= EXACT_SPLITS
    if exact:
        firsts = _every_split(len(sums), size) @ moments
    else:
        kinds = alike(moments)
        firsts = _random_splits(tuple(kinds.counts.tolist()), size, how.resamples, how.seed) @ kinds.rows
    studentised = _differences(firsts, total, sizes)[1]
    extreme = int((np.abs(studentised) >= abs(observed) - TOLERANCE).sum())
    p_value = extreme / splits if exact else (extreme + 1) / (len(firsts) + 1)
    return PermutationTest(float(difference), p_value, len(firsts), exact)


def _differences(firsts: Floats, total: Floats, sizes: tuple[int, int]) -> tuple[Floats, Floats]:
    """(B,) mean of the first arm minus mean of the second, bare and over its standard error.

    Args:
        firsts: (B, 5) of the first arm, sums over its families: of their values s, their sizes n, s^2, s x n and n^2.
        total: (5,) the same of both arms.
        sizes: Families of each.
    """
    sides = (_arm(firsts, sizes[0]), _arm(total - firsts, sizes[1]))
    difference, error = sides[0][0] - sides[1][0], np.sqrt(sides[0][1] + sides[1][1])
    difference[np.abs(difference) < TOLERANCE] = 0.0
    without = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    return difference, np.divide(difference, error, out=without, where=error > TOLERANCE)


def _arm(sums: Floats, families: int) -> tuple[Floats, Floats]:
    """(B,) mean over transcripts, and its variance over families (linearised ratio)."""
    s, n, ss, sn, nn = sums.T
    mean = ratio(s, n)
    spread = np.maximum(ss - 2 * mean * sn + mean**2 * nn, 0.0)
    return mean, families / max(families - 1, 1) * spread / n**2


@lru_cache(maxsize=4)
def _every_split(n: int, size: int) -> Floats:
    chosen = np.array(list(combinations(range(n), size)))
    masks = np.zeros((len(chosen), n))
    np.put_along_axis(masks, chosen, 1.0, axis=1)
    return masks


@lru_cache(maxsize=4)
def _random_splits(counts: tuple[float, ...], size: int, resamples: int, seed: int) -> Floats:
    """(B, K) how many families of each kind are in the first arm."""
    rng = np.random.default_rng(seed)
    if max(counts) == 1:
        return (rng.random((resamples, len(counts))).argsort(axis=1) < size).astype(np.float64)
    families = np.array(counts, dtype=np.int64)
    drawn = rng.multivariate_hypergeometric(families, size, size=resamples, method="marginals")
    return drawn.astype(np.float64)
