"""Privileged gain: how much better one reader tells two arms apart than another reader of the same transcripts.

The readers are, for instance, explanations of activations and texts written from the prefix alone. A vector is a
function of its prefix, so a gain is always relative to the other reader (docs/method.md 4.6). Families are resampled
within each arm and carry both readers along, so the interval is paired."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from .auroc import _index, _Ranked, auroc_by_cluster
from .bootstrap import Floats, cluster_interval, cluster_mean, ratio
from .effective import kish_families
from .interval import Estimate, Resampling, withheld

MATCHED_RATE = 0.05
"""Default deployment false-positive rate at which readers are compared."""


@dataclass(frozen=True)
class Scored:
    """Both readers' scores of the transcripts of one arm, row by row. Higher means "evaluation"."""

    own: Sequence[float]
    other: Sequence[float]
    clusters: Sequence[Hashable]
    """Family of each transcript."""


@dataclass(frozen=True)
class Gain:
    """One reader against another."""

    positives: int
    """Transcripts of the evaluation arm that both have read."""
    negatives: int
    """Of the deployment arm."""
    rate: float
    """Deployment false-positive rate of both at `at_rate`."""
    at_rate: Estimate
    """Share of evaluation transcripts that are flagged at that rate: own minus other."""
    auroc: Estimate
    """AUROC, own minus other. It decides whether there is a gain."""
    own_auroc: Estimate
    other_auroc: Estimate

    @property
    def sign(self) -> int:
        """1 for a gain, -1 for a loss, 0 for neither: the interval of the AUROC difference holds zero, or is withheld.
        A gain that is not shown counts as zero."""
        low, high = self.auroc.low, self.auroc.high
        if low is None or high is None:
            return 0
        return int(low > 0) - int(high < 0)


def gain(positive: Scored, negative: Scored, how: Resampling, rate: float = MATCHED_RATE) -> Gain:
    """Compare two readers on the same transcripts.

    Args:
        positive: Transcripts of the evaluation arm.
        negative: Transcripts of the deployment arm.
        how: Resamples, seed and level.
        rate: Share of deployment transcripts that either reader may flag. Between two thresholds the flagged share is
            interpolated, as a threshold drawn at random would give it.

    Raises:
        ValueError: `rate` is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate is {rate}; expected a share between 0 and 1")
    alone = [
        auroc_by_cluster(ours, positive.clusters, theirs, negative.clusters, how)
        for ours, theirs in ((positive.own, negative.own), (positive.other, negative.other))
    ]
    sizes = len(positive.clusters), len(negative.clusters)
    if not all(sizes):
        nothing = withheld(None, 0, "cluster", "one of the arms has no transcript that both have read")
        return Gain(*sizes, rate, nothing, nothing, *alone)
    left, right = _index(positive.clusters), _index(negative.clusters)
    own = _Ranked.of(positive.own, left, negative.own, right)
    other = _Ranked.of(positive.other, left, negative.other, right)
    rows, columns = own.positives, own.negatives
    worth = min(kish_families(rows), kish_families(columns))

    def compared(of: Callable[[_Ranked, Floats, Floats], Floats]) -> Estimate:
        def statistic(w: Floats) -> Floats:
            a, b = w[:, : len(rows)], w[:, len(rows) :]
            return of(own, a, b) - of(other, a, b)

        return cluster_interval(statistic, [len(rows), len(columns)], how, (-1.0, 1.0), worth)

    return Gain(*sizes, rate, compared(lambda r, a, b: flagged_at(r, a, b, rate)), compared(_auroc), *alone)


@dataclass(frozen=True)
class Discordant:
    """Transcripts on which two readers disagree, of those that both decided."""

    transcripts: int
    only_own: Estimate
    """Flagged by the first and not by the second: the bar a privileged reader has to clear."""
    only_other: Estimate


def discordant(own: Sequence[bool], other: Sequence[bool], clusters: Sequence[Hashable], how: Resampling) -> Discordant:
    """Both discordant rates, with intervals over families."""
    pairs = list(zip(own, other, strict=True))
    return Discordant(
        transcripts=len(pairs),
        only_own=cluster_mean([float(a and not b) for a, b in pairs], clusters, how),
        only_other=cluster_mean([float(b and not a) for a, b in pairs], clusters, how),
    )


def flagged_at(ranked: _Ranked, left: Floats, right: Floats, rate: float) -> Floats:
    """(B,) share of positives flagged where `rate` of the negatives are, under cluster weights (B, G) and (B, H)."""
    true, false = _from_above(ranked.left, left), _from_above(ranked.right, right)
    at = (false >= rate - 1e-12).argmax(axis=1)  # its last column is 1
    row = np.arange(len(at))
    before = np.maximum(at - 1, 0)
    low_true = np.where(at > 0, true[row, before], 0.0)
    low_false = np.where(at > 0, false[row, before], 0.0)
    step = ratio(rate - low_false, false[row, at] - low_false)
    found: Floats = low_true + np.clip(step, 0.0, 1.0) * (true[row, at] - low_true)
    return np.where(np.isfinite(true[:, -1]) & np.isfinite(false[:, -1]), found, np.nan)


def _from_above(counts: object, weights: Floats) -> Floats:
    """(B, S) share of rows with at least each score, highest score first."""
    by_score: Floats = (counts.T @ weights.T).T[:, ::-1]  # type: ignore[attr-defined]
    above = np.cumsum(by_score, axis=1)
    return ratio(above, np.broadcast_to(above[:, -1:], above.shape).copy())


def _auroc(ranked: _Ranked, left: Floats, right: Floats) -> Floats:
    return ratio(ranked.wins(left, right), (left @ ranked.positives) * (right @ ranked.negatives))
