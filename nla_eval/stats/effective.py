"""Effective size: how many independent units clustered ones are worth.

Design effect of a clustered proportion, measured or planned. Interval formulas for independent units then apply to the
effective size (Korn and Graubard 1998; Dean and Pagano 2015, doi:10.1093/jssam/smv024)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .distributions import normal_quantile, t_quantile
from .interval import LEVEL


@dataclass(frozen=True)
class EffectiveShare:
    """A proportion with the number of independent units that it is worth."""

    value: float
    units: float
    """Effective units: fewer than rows where families agree with themselves or are few, more where a row is a fraction
    of many positions."""
    families: int


def design_effect(size: float, correlation: float) -> float:
    """1 + (size - 1) x correlation: by what a family of `size` transcripts inflates the variance (Kish 1965)."""
    return 1 + (max(size, 1.0) - 1) * correlation


def kish_families(sizes: NDArray[np.float64]) -> float:
    """(sum n)^2 / sum n^2: how many families of equal size unequal ones are worth (Kish 1965)."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def effective_share(
    values: Sequence[float], families: Sequence[Hashable], level: float = LEVEL
) -> EffectiveShare | None:
    """The mean of values in [0, 1] over rows of families, with its effective number of units.

    p(1 - p) / variance, the variance by a family jackknife, shrunk by (z / t(G* - 1))^2 where G* is the number of
    families, made smaller by unequal sizes. Never more than the rows if every value is 0 or 1: a fraction rests on
    several positions and may be worth more than one unit (held to the rows, corrected fractions covered 0.99 to 1). For
    a share of 0 or 1, G*.

    Returns:
        None when there is no row.
    """
    if not families:
        return None
    order = {family: i for i, family in enumerate(dict.fromkeys(families))}
    index, rows = np.array([order[family] for family in families]), np.asarray(values, dtype=np.float64)
    sums = np.bincount(index, weights=rows)
    sizes = np.bincount(index).astype(np.float64)
    n, g, p = float(sizes.sum()), len(sizes), float(sums.sum() / sizes.sum())
    if g < 2 or p in (0.0, 1.0):
        return EffectiveShare(p, kish_families(sizes), g)
    left_out = (sums.sum() - sums) / (n - sizes)
    variance = (g - 1) / g * float(((left_out - p) ** 2).sum())
    tail = 0.5 + level / 2
    shrink = (normal_quantile(tail) / t_quantile(tail, max(kish_families(sizes) - 1, 1.0))) ** 2
    units = n if variance == 0 else p * (1 - p) / variance
    most = n if np.isin(rows, (0.0, 1.0)).all() else float("inf")
    return EffectiveShare(p, max(1.0, min(most, units * shrink)), g)
