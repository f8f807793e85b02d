"""A rate whose units share families on one side and donors on the other: slots that reuse activations.

100 slots filled from 24 donor transcripts are not 100 trials: Wilson covers 38-64 % there. Rows that share a slot's
family OR a donor are correlated; both count."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from .bootstrap import MIN_CLUSTERS
from .distributions import t_quantile
from .effective import kish_families
from .interval import Estimate, Resampling, withheld
from .perfect import perfect_rate


def two_way_mean(
    values: Sequence[float], families: Sequence[Hashable], donors: Sequence[Hashable], how: Resampling
) -> Estimate:
    """The mean of values in [0, 1] with an interval clustered both ways.

    Cameron, Gelbach and Miller 2011 (doi:10.1198/jbes.2010.07136): variance by family plus by donor less by their
    intersection, here by leave-one-out; never less than either alone (Davezies, D'Haultfoeuille and Guyonvarch 2018).
    t with the smaller number of effective clusters less one, on the logit scale. `n` is that of the rarer clusters.

    Args:
        values: (n,) flags or fractions of the donor lane.
        families: (n,) of the slot.
        donors: (n,) the transcript whose activation fills the slot.
        how: Level; nothing is resampled.
    """
    if not families:
        return withheld(None, 0, "two-way cluster", "no slot was filled")
    y = np.asarray(values, dtype=np.float64)
    both = list(zip(families, donors, strict=True))
    sizes = [_sizes(keys) for keys in (families, donors)]
    g, value = min(len(size) for size in sizes), float(y.mean())
    if g < MIN_CLUSTERS:
        return withheld(
            value, g, "two-way cluster", f"{g} families or donors; an interval needs at least {MIN_CLUSTERS}"
        )
    if value in (0.0, 1.0):
        found = perfect_rate(value, int(min(kish_families(size) for size in sizes) + 1e-9), how.level)
        return Estimate(value, found.low, found.high, g, f"{found.method} or donors, the rarer", one_sided=True)
    by_family, by_donor, by_both = _variance(y, families), _variance(y, donors), _variance(y, both)
    variance = max(by_family + by_donor - by_both, by_family, by_donor)
    freedom = max(min(kish_families(size) for size in sizes) - 1, 1.0)
    spread = t_quantile(0.5 + how.level / 2, freedom) * sqrt(variance) / (value * (1 - value))
    centre = log(value / (1 - value))
    low, high = (1 / (1 + exp(-(centre + side * spread))) for side in (-1, 1))
    return Estimate(value, low, high, g, f"two-way cluster by family and donor, t({freedom:.0f}) on the logit scale")


def _sizes(keys: Sequence[Hashable]) -> NDArray[np.float64]:
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.bincount([order[key] for key in keys]).astype(np.float64)


def _variance(y: NDArray[np.float64], keys: Sequence[Hashable]) -> float:
    """Leave-one-cluster-out variance of the mean around the mean itself."""
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    index = np.array([order[key] for key in keys])
    sums, sizes = np.bincount(index, weights=y), np.bincount(index).astype(np.float64)
    if len(sums) < 2:
        return 0.0
    left_out = (y.sum() - sums) / (len(y) - sizes)
    return float((len(sums) - 1) / len(sums) * ((left_out - y.mean()) ** 2).sum())
