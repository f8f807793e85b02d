"""Cluster intervals. The independent unit is the family, not the transcript and not the token.

One rule covers every statistic that is a function of family weights (how often each family is counted):

- 20 families or more: bootstrap over whole families.
- 8 to 19: delete-one-family jackknife with t(G - 1).
- Fewer than 8: the interval is withheld.

A family is resampled with all its transcripts. Resampling transcripts within a drawn family as well would count the
within-family variance twice (Davison and Hinkley 1997, 3.8)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from .distributions import normal_quantile, normal_share, t_quantile
from .interval import Estimate, Resampling, withheld
from .zero import upper_bound

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Maps family weights (B, G) to one value per row (B,). The G families are ordered by stratum."""

MIN_CLUSTERS = 8
"""With fewer families no interval is given. In simulation a percentile cluster bootstrap of 8 covers 56-87 %."""
BOOTSTRAP_CLUSTERS = 20
"""With this many families, bootstrap; with fewer, cluster jackknife and t(G - 1) (Cameron, Gelbach, Miller 2008)."""
MAX_UNDEFINED = 0.05
"""The interval is withheld if the statistic is undefined in more than this share of resamples."""
NO_VARIATION = "no variation between families: a resampling interval would have zero width"


def cluster_interval(
    statistic: Statistic, strata: Sequence[int], how: Resampling, limits: tuple[float, float]
) -> Estimate:
    """A statistic of families with its cluster interval.

    20 families or more: bias-corrected and accelerated bootstrap (Efron 1987) with quantiles widened for G - 1 degrees
    of freedom (Hesterberg 2015). Observed coverage at nominal 95 % is 0.942 with 20 families and 0.939 with 50; the
    plain percentile interval has 0.888 and 0.916 (families of 1 to 5 transcripts, rate 0.1, intra-family correlation
    0.2, 1,500 replications).

    8 to 19 families: t(G - 1), on the logit scale for statistics in [0, 1]. With 12 families it covers 0.92-0.97,
    against 0.84-0.91 on the plain scale.

    Args:
        statistic: See `Statistic`.
        strata: Number of families in each independently drawn group: one group for a single arm, two for a comparison
            of arms. The smallest decides which interval is given.
        how: Resamples, seed and level.
        limits: The statistic's range; interval ends are clipped to it.
    """
    g = min(strata)
    value = float(statistic(np.ones((1, sum(strata))))[0])
    if not np.isfinite(value):
        return withheld(None, g, "cluster", "the statistic is undefined on these transcripts")
    if g < MIN_CLUSTERS:
        return withheld(value, g, "cluster", f"{g} families; an interval needs at least {MIN_CLUSTERS}")
    left_out = statistic(1 - np.eye(sum(strata)))
    if not np.isfinite(left_out).all():
        return withheld(value, g, "cluster", "the statistic is undefined without one of the families")
    deviations = _deviations(left_out, strata)
    if float(np.abs(deviations).max()) < 1e-12:
        return withheld(value, g, "cluster", NO_VARIATION)
    if g < BOOTSTRAP_CLUSTERS:
        return _jackknife_t(value, deviations, strata, how, limits)
    drawn = _resample(statistic, strata, how)
    if len(drawn) < (1 - MAX_UNDEFINED) * how.resamples:
        return withheld(value, g, "cluster bootstrap", "the statistic is undefined in more than 5 % of resamples")
    return _accelerated(value, drawn, deviations, g, how, limits)


def _deviations(left_out: Floats, strata: Sequence[int]) -> Floats:
    """(G,) mean of a stratum's leave-one-out values minus each of them."""
    parts = np.split(left_out, np.cumsum(strata)[:-1])
    return np.concatenate([part.mean() - part for part in parts])


def _resample(statistic: Statistic, strata: Sequence[int], how: Resampling) -> Floats:
    rng = np.random.default_rng(how.seed)
    weights = np.concatenate([rng.multinomial(g, [1 / g] * g, size=how.resamples) for g in strata], axis=1)
    drawn = statistic(weights.astype(np.float64))
    return drawn[np.isfinite(drawn)]


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
    value: float, deviations: Floats, strata: Sequence[int], how: Resampling, limits: tuple[float, float]
) -> Estimate:
    g = min(strata)
    scale = np.repeat([(size - 1) / size for size in strata], strata)
    half = t_quantile(0.5 + how.level / 2, g - 1) * sqrt(float((scale * deviations**2).sum()))
    if limits == (0.0, 1.0) and 0 < value < 1:
        logit, spread = log(value / (1 - value)), half / (value * (1 - value))
        ends = (_expit(logit - spread), _expit(logit + spread))
        return Estimate(value, *ends, g, f"cluster jackknife, t({g - 1}) on the logit scale")
    return Estimate(
        value, _clip(value - half, limits), _clip(value + half, limits), g, f"cluster jackknife, t({g - 1})"
    )


def _expit(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def _clip(x: float, limits: tuple[float, float]) -> float:
    return float(min(max(x, limits[0]), limits[1]))


def totals(clusters: Sequence[Hashable], *columns: Sequence[float]) -> Floats:
    """Column sums per cluster, (G, len(columns)). Clusters are in order of first appearance."""
    order = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    out = np.zeros((len(order), len(columns)))
    for j, column in enumerate(columns):
        for cluster, x in zip(clusters, column, strict=True):
            out[order[cluster], j] += x
    return out


def ratio(tops: Floats, bottoms: Floats) -> Floats:
    """Elementwise tops / bottoms; NaN for a zero bottom."""
    return np.divide(tops, bottoms, out=np.full_like(tops, np.nan), where=bottoms != 0)


def cluster_ratio(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """`sum(numerators) / sum(denominators)` in [0, 1] with its cluster interval. Denominators of 1 give a mean.

    If every numerator is zero, resampling gives only zeros. The upper end is then the exact one-sided bound on the
    share of families with any event. It also bounds the ratio if families are of similar size.

    Args:
        numerators: (n,) per transcript, each at most its denominator.
        denominators: (n,) positive.
        clusters: (n,) family of each transcript.
    """
    if not clusters:
        return withheld(None, 0, "cluster", "no transcript")
    sums = totals(clusters, numerators, denominators)
    if not sums[:, 0].any() and len(sums) >= MIN_CLUSTERS:
        high = upper_bound(0, len(sums), how.level)
        return Estimate(0.0, 0.0, high, len(sums), "exact bound for zero, over families")
    return cluster_interval(lambda w: ratio(w @ sums[:, 0], w @ sums[:, 1]), [len(sums)], how, (0.0, 1.0))


def cluster_mean(values: Sequence[float], clusters: Sequence[Hashable], how: Resampling) -> Estimate:
    """The mean over transcripts of a value in [0, 1], with its cluster interval."""
    return cluster_ratio(values, [1.0] * len(values), clusters, how)


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """The mean of `a - b` over transcripts that have both (values in [0, 1]), with its cluster interval."""
    if not clusters:
        return withheld(None, 0, "cluster", "no transcript has both")
    sums = totals(clusters, [x - y for x, y in zip(a, b, strict=True)], [1.0] * len(clusters))
    return cluster_interval(lambda w: ratio(w @ sums[:, 0], w @ sums[:, 1]), [len(sums)], how, (-1.0, 1.0))


def arm_difference(
    a: Sequence[float],
    clusters_a: Sequence[Hashable],
    b: Sequence[float],
    clusters_b: Sequence[Hashable],
    how: Resampling,
) -> Estimate:
    """mean(a) - mean(b) of two independent arms (values in [0, 1]). Families are resampled within each arm."""
    if not clusters_a or not clusters_b:
        return withheld(None, 0, "cluster", "one of the arms has no transcript")
    left, right = totals(clusters_a, a, [1.0] * len(a)), totals(clusters_b, b, [1.0] * len(b))
    split = len(left)

    def difference(w: Floats) -> Floats:
        first = ratio(w[:, :split] @ left[:, 0], w[:, :split] @ left[:, 1])
        return first - ratio(w[:, split:] @ right[:, 0], w[:, split:] @ right[:, 1])

    return cluster_interval(difference, [len(left), len(right)], how, (-1.0, 1.0))
