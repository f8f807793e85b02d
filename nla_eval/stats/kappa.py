"""Cohen's kappa and Gwet's AC1: agreement of two judges beyond chance, with cluster intervals.

Kappa falls when one verdict is rare although judges agree; AC1 does not. Reports print both. Krippendorff's alpha, for
several judges, comes from Inspect."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import isnan

import numpy as np

from .bootstrap import Floats, cluster_interval, ratio
from .interval import Estimate, Resampling, withheld

_Chance = Callable[[Floats], Floats]


def cohens_kappa(
    first: Sequence[Hashable], second: Sequence[Hashable], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """Cohen's kappa (1960, doi:10.1177/001316446002000104) of two aligned sequences of labels.

    Args:
        first: (n,) labels by one judge.
        second: (n,) labels by the other.
        clusters: (n,) what the interval resamples: the family, or the text itself where texts are independent.
        how: See `cluster_interval`.

    Returns:
        Withheld where both judges give one and the same label throughout: kappa is then undefined.
    """
    return _agreement(first, second, clusters, how, _product_of_margins)


def gwets_ac1(
    first: Sequence[Hashable], second: Sequence[Hashable], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """Gwet's AC1 (2008, doi:10.1348/000711006X126600): chance agreement as sum of q(1 - q) / (K - 1).

    q is the mean of both judges' shares of a label, K the number of labels seen; arguments as for `cohens_kappa`.
    """
    return _agreement(first, second, clusters, how, _gwets_chance)


def agreement_values(first: Sequence[Hashable], second: Sequence[Hashable]) -> tuple[float | None, float | None]:
    """Cohen's kappa and Gwet's AC1 of two aligned sequences of labels, without intervals; None where undefined."""
    if not first:
        return None, None
    whole = _tables(first, second, [0] * len(first)).sum(axis=0, keepdims=True) / len(first)
    kappa, ac1 = (float(_beyond_chance(whole, chance)[0]) for chance in (_product_of_margins, _gwets_chance))
    return None if isnan(kappa) else kappa, None if isnan(ac1) else ac1


def _product_of_margins(tables: Floats) -> Floats:
    product: Floats = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1)
    return product


def _gwets_chance(tables: Floats) -> Floats:
    q = (tables.sum(axis=2) + tables.sum(axis=1)) / 2
    chance: Floats = (q * (1 - q)).sum(axis=1) / max(tables.shape[1] - 1, 1)
    return chance


def _agreement(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    clusters: Sequence[Hashable],
    how: Resampling,
    chance: _Chance,
) -> Estimate:
    if not clusters:
        return withheld(None, 0, "cluster", "no text was labelled by both")
    tables = _tables(first, second, clusters)
    g, labels = len(tables), tables.shape[1]
    flat = tables.reshape(g, -1)

    def statistic(w: Floats) -> Floats:
        counts = w @ flat
        shares = ratio(counts, counts.sum(axis=1, keepdims=True) + np.zeros_like(counts)).reshape(-1, labels, labels)
        return _beyond_chance(shares, chance)

    return cluster_interval(statistic, [g], how, (-1.0, 1.0))


def _beyond_chance(shares: Floats, chance: _Chance) -> Floats:
    """(n,) agreement beyond chance of (n, K, K) shares of label pairs; NaN where chance explains all."""
    expected = chance(shares)
    return ratio(np.trace(shares, axis1=1, axis2=2) - expected, 1 - expected)


def _tables(first: Sequence[Hashable], second: Sequence[Hashable], clusters: Sequence[Hashable]) -> Floats:
    """(G, K, K) counts of label pairs by cluster."""
    order = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    labels = {label: i for i, label in enumerate(dict.fromkeys([*first, *second]))}
    out = np.zeros((len(order), len(labels), len(labels)))
    for a, b, cluster in zip(first, second, clusters, strict=True):
        out[order[cluster], labels[a], labels[b]] += 1
    return out
