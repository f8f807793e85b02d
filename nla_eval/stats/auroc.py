"""How well the fraction of aware positions separates two arms: AUROC with a cluster interval.

0.5 is chance whatever the base rates are, so AUROC can be shown even if the any-of-k rate is not certified."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from .bootstrap import Floats, cluster_interval, ratio
from .interval import Estimate, Resampling, withheld


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """P(a positive scores above a negative) + half of P(tie): the Mann-Whitney form (Hanley and McNeil 1982).

    Raises:
        ValueError: when either side is empty.
    """
    if not positive or not negative:
        raise ValueError("AUROC needs at least one transcript on each side")
    return float(_wins(positive, negative).mean())


def auroc_by_cluster(
    positive: Sequence[float],
    positive_clusters: Sequence[Hashable],
    negative: Sequence[float],
    negative_clusters: Sequence[Hashable],
    how: Resampling,
) -> Estimate:
    """AUROC of positives over negatives. Whole families are resampled within each arm (see `bootstrap`).

    Args:
        positive: (n,) scores of the evaluation arm.
        positive_clusters: (n,) families of the evaluation arm.
        negative: (m,) scores of the deployment arm.
        negative_clusters: (m,) families of the deployment arm.
    """
    if not positive or not negative:
        return withheld(None, 0, "cluster", "one of the arms has no transcript with a judged position")
    rows, columns = _membership(positive_clusters), _membership(negative_clusters)
    wins = rows @ _wins(positive, negative) @ columns.T
    sizes = np.outer(rows.sum(axis=1), columns.sum(axis=1))
    split = len(rows)

    def statistic(w: Floats) -> Floats:
        left, right = w[:, :split], w[:, split:]
        return ratio(((left @ wins) * right).sum(axis=1), ((left @ sizes) * right).sum(axis=1))

    return cluster_interval(statistic, [split, len(columns)], how, (0.0, 1.0))


def auroc_shared_clusters(
    scores: Sequence[float], positive: Sequence[bool], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """AUROC when every family has rows on both sides, as in matched pairs. A family is resampled with all its rows.

    Args:
        scores: (n,) scores; higher means more likely positive.
        positive: (n,) which rows are positives.
        clusters: (n,) families.
    """
    values, label = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if not label.any() or label.all():
        return withheld(None, 0, "cluster", "one of the sides has no row")
    members = _membership(clusters)
    rows, columns = members[:, label], members[:, ~label]
    wins = rows @ _wins(values[label].tolist(), values[~label].tolist()) @ columns.T
    sizes = np.outer(rows.sum(axis=1), columns.sum(axis=1))
    return cluster_interval(
        lambda w: ratio(((w @ wins) * w).sum(axis=1), ((w @ sizes) * w).sum(axis=1)), [len(members)], how, (0.0, 1.0)
    )


def _wins(positive: Sequence[float], negative: Sequence[float]) -> Floats:
    a, b = np.asarray(positive, dtype=np.float64)[:, None], np.asarray(negative, dtype=np.float64)[None, :]
    wins: Floats = (a > b) + 0.5 * (a == b)
    return wins


def _membership(clusters: Sequence[Hashable]) -> Floats:
    """(G, n) matrix with 1 where transcript j belongs to cluster g. Clusters are in order of first appearance."""
    order = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    out = np.zeros((len(order), len(clusters)))
    for j, cluster in enumerate(clusters):
        out[order[cluster], j] = 1
    return out
