"""Jeffreys' interval for a proportion of independent units: equal tails of the Beta(x + 1/2, n - x + 1/2) posterior.

Beside Wilson's for very rare events, where its average coverage is nearer to nominal. It knows nothing of clusters."""

from __future__ import annotations

from .distributions import beta_quantile
from .interval import LEVEL, Estimate, withheld

METHOD = "Jeffreys"


def jeffreys(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """The proportion `successes / n` with Jeffreys' interval (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286).

    The lower end is 0 when nothing happened and the upper end 1 when everything did, as the paper advises.

    Args:
        successes: Units with the property, 0..n.
        n: Independent units; with 0 the estimate is withheld.
        level: Two-sided confidence level.

    Raises:
        ValueError: when `successes` is outside 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..n, got {successes} of {n}")
    if n == 0:
        return withheld(None, 0, METHOD, "no determinate transcript")
    a, b, tail = successes + 0.5, n - successes + 0.5, (1 - level) / 2
    low = 0.0 if successes == 0 else beta_quantile(tail, a, b)
    high = 1.0 if successes == n else beta_quantile(1 - tail, a, b)
    return Estimate(value=successes / n, low=low, high=high, n=n, method=METHOD)
