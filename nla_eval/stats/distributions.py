"""Quantiles and tails of the distributions behind intervals and tests, by scipy.

scipy is imported on the first call. The import takes most of a second and would delay error messages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normal_quantile(share: float) -> float:
    """The standard normal's value below which `share` lies."""
    from scipy.stats import norm

    return float(norm.ppf(share))


def normal_share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the standard normal below each value."""
    from scipy.stats import norm

    return np.asarray(norm.cdf(values))


def t_quantile(share: float, freedom: float) -> float:
    """Student's t with `freedom` degrees: the value below which `share` lies."""
    from scipy.stats import t

    return float(t.ppf(share, freedom))


def t_tail(value: float, freedom: float) -> float:
    """Student's t with `freedom` degrees: the share above `value`."""
    from scipy.stats import t

    return float(t.sf(value, freedom))


def beta_quantile(share: float, a: float, b: float) -> float:
    """The beta distribution's value below which `share` lies: Clopper and Pearson's bound."""
    from scipy.stats import beta

    return float(beta.ppf(share, a, b))


def fair_coin_tail(heads: int, throws: int) -> float:
    """P(at most `heads` of `throws`) of a fair coin."""
    from scipy.stats import binom

    return float(binom.cdf(heads, throws, 0.5))
