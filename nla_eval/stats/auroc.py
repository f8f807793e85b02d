"""How well the fraction of aware positions separates two arms: AUROC with a cluster interval.

0.5 is chance whatever the base rates are, so AUROC can be shown even if the any-of-k rate is not certified."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import MIN_CLUSTERS, Floats, cluster_interval, ratio
from .effective import kish_families
from .interval import Estimate, Resampling, withheld
from .perfect import perfect_auroc

_ROWS = 256
"""Resamples ranked at a time: memory, not the result."""


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """P(a positive scores above a negative) + half of P(tie): the Mann-Whitney form (Hanley and McNeil 1982).

    Raises:
        ValueError: when either side is empty.
    """
    if not positive or not negative:
        raise ValueError("AUROC needs at least one transcript on each side")
    ranked = _Ranked.of(positive, [0] * len(positive), negative, [0] * len(negative))
    return float(ranked.wins(np.ones((1, 1)), np.ones((1, 1)))[0]) / (len(positive) * len(negative))


def auroc_by_cluster(
    positive: Sequence[float],
    positive_clusters: Sequence[Hashable],
    negative: Sequence[float],
    negative_clusters: Sequence[Hashable],
    how: Resampling,
) -> Estimate:
    """AUROC of positives over negatives. Whole families are resampled within each arm (see `bootstrap`).

    An AUROC of 0 or 1 has a one-sided bound (see `perfect`).

    Args:
        positive: (n,) scores of the evaluation arm.
        positive_clusters: (n,) families of the evaluation arm.
        negative: (m,) scores of the deployment arm.
        negative_clusters: (m,) families of the deployment arm.
    """
    if not positive or not negative:
        return withheld(None, 0, "cluster", "one of the arms has no transcript with a judged position")
    ranked = _Ranked.of(positive, _index(positive_clusters), negative, _index(negative_clusters))
    rows, columns = ranked.positives, ranked.negatives
    split, pairs = len(rows), min(len(rows), len(columns))
    total, everything = rows.sum() * columns.sum(), ranked.all_wins()
    if everything in (0.0, total) and pairs >= MIN_CLUSTERS:
        return perfect_auroc(everything / total, pairs, how.level)
    by_row, by_column = ranked.shares()
    left_out = np.concatenate(
        [
            ratio(everything - by_row, (rows.sum() - rows) * columns.sum()),
            ratio(everything - by_column, rows.sum() * (columns.sum() - columns)),
        ]
    )

    def statistic(w: Floats) -> Floats:
        left, right = w[:, :split], w[:, split:]
        return ratio(ranked.wins(left, right), (left @ rows) * (right @ columns))

    worth = min(kish_families(rows), kish_families(columns))
    return cluster_interval(statistic, [split, len(columns)], how, (0.0, 1.0), worth, left_out)


def auroc_shared_clusters(
    scores: Sequence[float], positive: Sequence[bool], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """AUROC when every family has rows on both sides, as in matched pairs. A family is resampled with all its rows.

    Args:
        scores: (n,) scores; higher means more likely positive.
        positive: (n,) which rows are positives.
        clusters: (n,) families.
    """
    values, label, index = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool), _index(clusters)
    if not label.any() or label.all():
        return withheld(None, 0, "cluster", "one of the sides has no row")
    ranked = _Ranked.of(values[label], index[label], values[~label], index[~label], int(index.max()) + 1)
    rows, columns, families = ranked.positives, ranked.negatives, len(ranked.positives)
    total, everything = rows.sum() * columns.sum(), ranked.all_wins()
    if everything in (0.0, total) and families // 2 >= MIN_CLUSTERS:
        return perfect_auroc(everything / total, families // 2, how.level)

    def statistic(w: Floats) -> Floats:
        return ratio(ranked.wins(w, w), (w @ rows) * (w @ columns))

    worth = kish_families(rows + columns)
    return cluster_interval(statistic, [families], how, (0.0, 1.0), worth)


@dataclass(frozen=True)
class _Ranked:
    """Both sides as counts of each different score by cluster: wins cost a running sum, not all pairs."""

    left: Any
    """Sparse (G, S): positives of a cluster by score, scores in rising order."""
    right: Any
    """Sparse (H, S): negatives."""

    @classmethod
    def of(
        cls,
        positive: Sequence[float] | Floats,
        positive_index: Sequence[int] | NDArray[np.int64],
        negative: Sequence[float] | Floats,
        negative_index: Sequence[int] | NDArray[np.int64],
        clusters: int | None = None,
    ) -> _Ranked:
        from scipy.sparse import coo_array

        both = np.concatenate([np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)])
        different, rank = np.unique(both, return_inverse=True)
        n, sides = len(positive), []
        for ranks, index in ((rank[:n], positive_index), (rank[n:], negative_index)):
            shape = (clusters or int(max(index)) + 1, len(different))
            sides.append(coo_array((np.ones(len(ranks)), (np.asarray(index), ranks)), shape=shape).tocsr())
        return cls(*sides)

    @property
    def positives(self) -> Floats:
        """(G,) positives of each cluster."""
        return np.asarray(self.left.sum(axis=1), dtype=np.float64).ravel()

    @property
    def negatives(self) -> Floats:
        """(H,) negatives of each cluster."""
        return np.asarray(self.right.sum(axis=1), dtype=np.float64).ravel()

    def wins(self, left: Floats, right: Floats) -> Floats:
        """(B,) pairs won, half for a tie, under cluster weights (B, G) and (B, H)."""
        parts = []
        for start in range(0, len(left), _ROWS):
            ours = (self.left.T @ left[start : start + _ROWS].T).T
            parts.append((ours * _below((self.right.T @ right[start : start + _ROWS].T).T)).sum(axis=1))
        return np.concatenate(parts)

    def all_wins(self) -> float:
        """Pairs won when every cluster counts once."""
        return float(self.wins(np.ones((1, self.left.shape[0])), np.ones((1, self.right.shape[0])))[0])

    def shares(self, left: Floats | None = None, right: Floats | None = None) -> tuple[Floats, Floats]:
        """(G,) and (H,): the pairs won by the positives, and those lost by the negatives, of each cluster.

        Args:
            left: (G,) how often each cluster of positives counts; once by default.
            right: (H,) the same of negatives.
        """
        ours = self.left.T @ (np.ones(self.left.shape[0]) if left is None else left)
        theirs = self.right.T @ (np.ones(self.right.shape[0]) if right is None else right)
        above = ours.sum() - _below(ours[None, :])[0]
        return np.asarray(self.left @ _below(theirs[None, :])[0]), np.asarray(self.right @ above)


def _below(counts: Floats) -> Floats:
    """(B, S) how many lie below each score, half of those at it."""
    below: Floats = np.cumsum(counts, axis=1) - counts / 2
    return below


def _index(clusters: Sequence[Hashable]) -> NDArray[np.int64]:
    """(n,) number of each row's cluster, clusters in order of first appearance."""
    order = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([order[cluster] for cluster in clusters])
