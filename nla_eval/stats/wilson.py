"""Wilson's score interval for a proportion of independent units.

In: counts. Out: an `Estimate`. It ignores clusters, but transcripts of one prompt family are not independent, so
reports also give a cluster interval."""

from __future__ import annotations

from math import sqrt

from .distributions import normal_quantile
from .interval import LEVEL, Estimate, withheld

METHOD = "Wilson"


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """The proportion `successes / n` with Wilson's score interval.

    Unlike the normal interval, it works for small n and for rates near 0 or 1 (Wilson 1927; Brown, Cai and DasGupta
    2001). Its true coverage still falls for very rare events (about 0.91 at n = 100, p = 0.005).

    Args:
        successes: Units with the property, 0..n.
        n: Independent units. With 0 the estimate is withheld.
        level: Two-sided confidence level.

    Raises:
        ValueError: when `successes` is outside 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..n, got {successes} of {n}")
    if n == 0:
        return withheld(None, 0, METHOD, "no determinate transcript")
    z = normal_quantile(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(value=p, low=low, high=high, n=n, method=METHOD)
