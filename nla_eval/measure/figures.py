"""Computes the figures of a card: a mean, a difference or an AUROC over held-out rows, with an interval by cluster.

In: one value per row and the conversation or family of each row. Out: a `Figure`. Intervals come from `nla_eval.stats`.
It does not know what a value means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..stats.auroc import auroc_shared_clusters
from ..stats.bootstrap import cluster_interval, cluster_ratio, ratio, totals
from ..stats.interval import Estimate, Resampling
from ..stats.wilson import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HOW = Resampling()
_INF = float("inf")


class Figure(BaseModel):
    """One figure of a card. An end of the interval is None if there are too few clusters for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    interval: tuple[float | None, float | None]
    """95 % interval, (low, high)."""
    n: int
    """Number of rows."""

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return self.interval[0]

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return self.interval[1]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Figure:
        """Read the output of `as_dict`. Old cards have no `n`."""
        return cls(value=entry["value"], interval=tuple(entry["interval"]), n=entry.get("n", 0))

    def as_dict(self) -> dict[str, object]:
        """Values rounded to four places, for card.json."""
        ends = [None if end is None else round(end, 4) for end in self.interval]
        return {"value": round(self.value, 4), "interval": ends, "n": self.n}


def figure(values: Floats, clusters: Ints, limits: tuple[float, float] = (-_INF, 1.0)) -> Figure:
    """Mean over rows with the cluster interval of `stats.bootstrap`; no interval below 8 clusters.

    Args:
        values: (n,) one value per row, n at least 1.
        clusters: (n,) conversation of each row.
        limits: Range of the values.
    """
    sums = totals(clusters.tolist(), values.tolist(), [1.0] * len(values))
    found = cluster_interval(lambda w: ratio(w @ sums[:, 0], w @ sums[:, 1]), [len(sums)], HOW, limits)
    return _figure(found, len(values))


def difference(values: Floats, clusters: Ints) -> Figure:
    """Mean of paired differences, without limits on their range."""
    return figure(values, clusters, (-_INF, _INF))


def share(values: NDArray[np.bool_] | Floats, clusters: Ints, weights: Floats | None = None) -> Figure:
    """A (weighted) share in [0, 1]. With zero events the upper end is the exact bound over clusters."""
    wide = np.ones(len(values)) if weights is None else weights
    found = cluster_ratio((np.asarray(values, float) * wide).tolist(), wide.tolist(), clusters.tolist(), HOW)
    return _figure(found, len(values))


def balanced_share(hits: NDArray[np.bool_], labels: Sequence[Hashable], clusters: Ints) -> Figure:
    """Balanced accuracy: the mean over classes of the share of hits, so that all classes weigh the same."""
    counts: dict[Hashable, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return share(hits, clusters, np.array([1.0 / counts[label] for label in labels]))


def auc(scores: Floats, positive: NDArray[np.bool_], families: Ints) -> Figure:
    """AUROC over rows. Every family must have rows on both sides."""
    found = auroc_shared_clusters(scores.tolist(), positive.tolist(), families.tolist(), HOW)
    return _figure(found, len(scores))


def proportion(successes: int, n: int) -> Figure:
    """A share of `n` independent units with Wilson's interval; `n` at least 1."""
    return _figure(wilson(successes, n), n)


def _figure(found: Estimate, n: int) -> Figure:
    if found.value is None:
        raise ValueError(f"a figure of {n} rows is undefined: {found.withheld}")
    return Figure(value=found.value, interval=(found.low, found.high), n=n)
