"""Two lanes on the same transcripts: the difference of their rates with an interval that holds for rare events.

Bonett and Price 2012 (doi:10.1002/sim.5303) add one discordant pair to each side; with families that is one transcript
in each of two added families of average size. Then t over effective families around a family jackknife. Observed
coverage of a nominal 95 % with 8 to 50 families of 2, or of 1 to 5, rates from 0.02 to 0.5 (2,000 replications a
setting): 0.946 to 1.00, where the same interval without the addition covers 0.59 to 0.99."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import sqrt

import numpy as np

from .bootstrap import MIN_CLUSTERS, Floats, totals
from .distributions import t_quantile
from .effective import kish_families
from .interval import Estimate, Resampling, withheld


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """The mean of `a - b` over transcripts that have both (values in [0, 1]), with its interval over families."""
    if not clusters:
        return withheld(None, 0, "cluster", "no transcript has both")
    sums = totals(clusters, [x - y for x, y in zip(a, b, strict=True)], [1.0] * len(clusters))
    size = float(sums[:, 1].mean())
    return paired_interval(sums[:, 0], sums[:, 1], (size, size), sums[:, 1], how, -1.0)


def paired_interval(
    tops: Floats, bottoms: Floats, added: tuple[float, float], sizes: Floats, how: Resampling, lowest: float
) -> Estimate:
    """`sum(tops) / sum(bottoms)`, at most 1, over families.

    Args:
        tops: (G,) first lane less second, summed over a family's transcripts.
        bottoms: (G,) what the difference is a share of.
        added: Bottoms of the two added families, whose tops are +1 and -1.
        sizes: (G,) transcripts of a family.
        how: Level; nothing is resampled.
        lowest: The statistic's least value.
    """
    g, value = len(tops), float(tops.sum() / bottoms.sum())
    if g < MIN_CLUSTERS:
        return withheld(value, g, "cluster", f"{g} families; an interval needs at least {MIN_CLUSTERS}")
    a, b = np.concatenate([tops, [1.0, -1.0]]), np.concatenate([bottoms, added])
    left_out = (a.sum() - a) / (b.sum() - b)
    variance = (len(a) - 1) / len(a) * float(((left_out - left_out.mean()) ** 2).sum())
    freedom = max(kish_families(sizes) - 1, 1.0)
    half, centre = t_quantile(0.5 + how.level / 2, freedom) * sqrt(variance), float(a.sum() / b.sum())
    return Estimate(
        value,
        max(lowest, min(value, centre - half)),
        min(1.0, max(value, centre + half)),
        g,
        f"cluster jackknife with two added families, t({freedom:.0f})",
    )
