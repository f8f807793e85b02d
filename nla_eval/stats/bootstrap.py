"""Cluster intervals. The independent unit is the family, not the transcript and not the token.

One rule for every statistic that can be written as a function of how often each family is counted (`weights`):
bootstrap over whole families from 20 families of similar size on, delete-one-family jackknife with t(G* - 1) where they
are fewer or unequal (G* of equal size are worth as much), withheld below 8. Families are resampled with all their
transcripts: resampling the transcripts inside a drawn family once more counts the within-family variance twice (Davison
and Hinkley 1997, 3.8)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from .alike import Alike, alike
from .distributions import normal_quantile, normal_share, t_quantile
from .effective import kish_families
from .interval import Estimate, Resampling, withheld
from .perfect import perfect_difference, perfect_rate

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Maps family weights (B, G) to one value per row (B,). The G families are ordered by stratum."""

MIN_CLUSTERS = 8
"""With fewer families no interval is given. In simulation a percentile cluster bootstrap of 8 covers 56-87 %."""
BOOTSTRAP_CLUSTERS = 20
"""From here on the bootstrap; below it t(G - 1) around a cluster jackknife (Cameron, Gelbach and Miller 2008)."""
EVEN = 0.9
"""Families that are worth less than this share of their number, being unequal, take the jackknife at any number."""
MAX_UNDEFINED = 0.05
"""The interval is withheld if the statistic is undefined in more than this share of resamples."""
NO_VARIATION = "no variation between families: a resampling interval would have zero width"


def cluster_interval(
    statistic: Statistic,
    strata: Sequence[int],
    how: Resampling,
    limits: tuple[float, float],
    worth: float | None = None,
    left_out: Floats | None = None,
    families: Sequence[Alike] | None = None,
) -> Estimate:
    """A statistic of families with its cluster interval.

    From 20 families on: bias-corrected and accelerated bootstrap (Efron 1987) with quantiles widened for G - 1 degrees
    of freedom (Hesterberg 2015). Observed coverage of a nominal 95 % with families of 1 to 5 transcripts, rate 0.1 and
    intra-family correlation 0.2 (1,500 replications): 0.942 with 20 families and 0.939 with 50, where the plain
    percentile interval covers 0.888 and 0.916. From 8 to 19, and for unequal families: t(G* - 1), on the logit scale
    for statistics in [0, 1] (0.92-0.97 with 12 families, against 0.84-0.91 on the plain scale). With 10 to 50 families
    whose sizes are log-normal, or of which two hold a third of the transcripts, rates 0.05 to 0.5: 0.92-0.99 (2,000
    replications a setting), where t(G - 1) covers 0.905 to 0.98.

    Args:
        statistic: See `Statistic`.
        strata: Number of families in each independently drawn group: one group for a single arm, two for a comparison
            of arms. The smallest decides which interval is given.
        how: Resamples, seed and level.
        limits: The statistic's range; interval ends are clipped to it.
        worth: How many families of equal size the unequal ones are worth (`kish_families`), in the group with fewest.
        left_out: (G,) the statistic without each family, where the caller has it cheaper than by weights.
        families: Per stratum, how many families each column of `weights` stands for (`alike`); by default one each.
    """
    g = min(strata)
    worth = g if worth is None else worth
    counts = [np.ones(size) for size in strata] if families is None else [group.counts for group in families]
    everything = np.concatenate(counts)
    value = float(statistic(everything[None, :])[0])
    if not np.isfinite(value):
        return withheld(None, g, "cluster", "the statistic is undefined on these transcripts")
    if g < MIN_CLUSTERS:
        return withheld(value, g, "cluster", f"{g} families; an interval needs at least {MIN_CLUSTERS}")
    if left_out is None:
        left_out = np.repeat(statistic(everything - np.eye(len(everything))), everything.astype(np.int64))
    if not np.isfinite(left_out).all():
        return withheld(value, g, "cluster", "the statistic is undefined without one of the families")
    deviations = _deviations(left_out, strata)
    if float(np.abs(deviations).max()) < 1e-12:
        return withheld(value, g, "cluster", NO_VARIATION)
    if worth < BOOTSTRAP_CLUSTERS or worth < EVEN * g:
        return _jackknife_t(value, deviations, strata, worth, how, limits)
    drawn = _resample(statistic, counts, how)
    if len(drawn) < (1 - MAX_UNDEFINED) * how.resamples:
        return withheld(value, g, "cluster bootstrap", "the statistic is undefined in more than 5 % of resamples")
    return _accelerated(value, drawn, deviations, g, how, limits)


def _deviations(left_out: Floats, strata: Sequence[int]) -> Floats:
    """(G,) mean of a stratum's leave-one-out values minus each of them."""
    parts = np.split(left_out, np.cumsum(strata)[:-1])
    return np.concatenate([part.mean() - part for part in parts])


def _resample(statistic: Statistic, counts: Sequence[Floats], how: Resampling) -> Floats:
    drawn = statistic(_weights(tuple(tuple(c.tolist()) for c in counts), how.resamples, how.seed))
    return drawn[np.isfinite(drawn)]


@lru_cache(maxsize=4)
def _weights(strata: tuple[tuple[float, ...], ...], resamples: int, seed: int) -> Floats:
    """(B, K) how often families of each kind are drawn. Drawing takes longer than most statistics, and is asked often.

    Args:
        strata: Families of each kind, by stratum.
        resamples: B.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    sizes = [np.array(kinds) for kinds in strata]
    parts = [rng.multinomial(int(kinds.sum()), kinds / kinds.sum(), size=resamples) for kinds in sizes]
    counts = np.concatenate(parts, axis=1)
    weights: Floats = counts.astype(np.float64)
    weights.setflags(write=False)
    return weights


def _accelerated(
    value: float, drawn: Floats, deviations: Floats, g: int, how: Resampling, limits: tuple[float, float]
) -> Estimate:
    below = float((drawn < value).mean() + (drawn == value).mean() / 2)
    edge = 1 / (len(drawn) + 1)
    bias = normal_quantile(min(max(below, edge), 1 - edge))
    acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    widened = sqrt(g / (g - 1)) * t_quantile(0.5 + how.level / 2, g - 1)
    shifted = bias + np.array([-widened, widened])
    ends = np.quantile(drawn, normal_share(bias + shifted / (1 - acceleration * shifted)))
    method = f"BCa cluster bootstrap, {how.resamples} resamples of families"
    return Estimate(value, _clip(ends[0], limits), _clip(ends[1], limits), g, method)


def _jackknife_t(
    value: float,
    deviations: Floats,
    strata: Sequence[int],
    worth: float,
    how: Resampling,
    limits: tuple[float, float],
) -> Estimate:
    g, freedom = min(strata), max(worth - 1, 1.0)
    scale = np.repeat([(size - 1) / size for size in strata], strata)
    half = t_quantile(0.5 + how.level / 2, freedom) * sqrt(float((scale * deviations**2).sum()))
    if limits == (0.0, 1.0) and 0 < value < 1:
        logit, spread = log(value / (1 - value)), half / (value * (1 - value))
        ends = (_expit(logit - spread), _expit(logit + spread))
        return Estimate(value, *ends, g, f"cluster jackknife, t({freedom:.0f}) on the logit scale")
    method = f"cluster jackknife, t({freedom:.0f})"
    return Estimate(value, _clip(value - half, limits), _clip(value + half, limits), g, method)


def _expit(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def _clip(x: float, limits: tuple[float, float]) -> float:
    return float(min(max(x, limits[0]), limits[1]))


def totals(clusters: Sequence[Hashable], *columns: Sequence[float]) -> Floats:
    """Column sums per cluster, (G, len(columns)). Clusters are in order of first appearance."""
    order = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    index = np.fromiter((order[cluster] for cluster in clusters), np.int64, len(clusters))
    sums = [np.bincount(index, np.asarray(column, dtype=np.float64), len(order)) for column in columns]
    return np.stack(sums, axis=1)


def ratio(tops: Floats, bottoms: Floats) -> Floats:
    """Elementwise tops / bottoms; NaN for a zero bottom."""
    return np.divide(tops, bottoms, out=np.full_like(tops, np.nan), where=bottoms != 0)


def cluster_ratio(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """`sum(numerators) / sum(denominators)` in [0, 1] with its cluster interval. Denominators of 1 give a mean.

    A ratio of 0 or 1 has an exact one-sided bound over families (`perfect_rate`), by as many as unequal ones are worth.

    Args:
        numerators: (n,) per transcript, each at most its denominator.
        denominators: (n,) positive.
        clusters: (n,) family of each transcript.
    """
    if not clusters:
        return withheld(None, 0, "cluster", "no transcript")
    sums = totals(clusters, numerators, denominators)
    worth = kish_families(sums[:, 1])
    if len(sums) >= MIN_CLUSTERS and (not sums[:, 0].any() or np.array_equal(sums[:, 0], sums[:, 1])):
        return perfect_rate(float(sums[0, 0] > 0), int(worth + 1e-9), how.level)
    group = alike(sums)
    tops, bottoms = group.rows.T
    return cluster_interval(
        lambda w: ratio(w @ tops, w @ bottoms), [len(sums)], how, (0.0, 1.0), worth, families=[group]
    )


def cluster_mean(values: Sequence[float], clusters: Sequence[Hashable], how: Resampling) -> Estimate:
    """The mean over transcripts of a value in [0, 1], with its cluster interval."""
    return cluster_ratio(values, [1.0] * len(values), clusters, how)


def cluster_average(values: Sequence[float], clusters: Sequence[Hashable], how: Resampling) -> Estimate:
    """The mean over transcripts of a quantity without limits, with its cluster interval."""
    if not clusters:
        return withheld(None, 0, "cluster", "no transcript")
    sums = totals(clusters, values, [1.0] * len(values))
    worth = kish_families(sums[:, 1])
    return cluster_interval(lambda w: ratio(w @ sums[:, 0], w @ sums[:, 1]), [len(sums)], how, (-inf, inf), worth)


def arm_difference(
    a: Sequence[float],
    clusters_a: Sequence[Hashable],
    b: Sequence[float],
    clusters_b: Sequence[Hashable],
    how: Resampling,
) -> Estimate:
    """mean(a) - mean(b) of two independent arms (values in [0, 1]), from the cluster interval of each.

    A small arm with a skewed statistic keeps its skew; one joint jackknife would not (60 families against 15 single
    transcripts, nothing to be found: an interval without 0 in 8 % of worlds, now 5.5 %).
    """
    if not clusters_a or not clusters_b:
        return withheld(None, 0, "cluster", "one of the arms has no transcript")
    both = ((a, clusters_a), (b, clusters_b))
    sums = [totals(clusters, values, [1.0] * len(values)) for values, clusters in both]
    known = [_constant(side) for side in sums]
    if None not in known and min(map(len, sums)) >= MIN_CLUSTERS:
        effective = [int(kish_families(side[:, 1]) + 1e-9) for side in sums]
        rates = [1.0 if one else 0.0 for one in known]
        return perfect_difference((rates[0], rates[1]), (effective[0], effective[1]), how.level)
    one_sided = replace(how, level=(1 + how.level) / 2)
    first, second = (
        cluster_mean(values, clusters, how if one is None else one_sided)
        for (values, clusters), one in zip(both, known, strict=True)
    )
    return _recovered(first, second)


def _recovered(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two independent estimates, from their own intervals (MOVER, Zou and Donner 2008)."""
    g, reason = min(first.n, second.n), first.withheld or second.withheld or "an arm has no interval"
    if first.value is None or second.value is None:
        return withheld(None, g, "cluster", reason)
    value = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return withheld(value, g, "cluster", reason)
    low = value - sqrt((first.value - first.low) ** 2 + (second.high - second.value) ** 2)
    high = value + sqrt((first.high - first.value) ** 2 + (second.value - second.low) ** 2)
    method = f"from the arms' intervals (MOVER): {first.method}; {second.method}"
    return Estimate(value, _clip(low, (-1.0, 1.0)), _clip(high, (-1.0, 1.0)), g, method)


def _constant(sums: Floats) -> bool | None:
    """True or False where every value is 1 or 0; None where they vary."""
    if not sums[:, 0].any():
        return False
    return True if np.array_equal(sums[:, 0], sums[:, 1]) else None
