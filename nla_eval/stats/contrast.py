"""Contrasts within items: what changes when the same item (a prompt family) appears in another variant.

In: one value per transcript with its item and variant; None if undecided. Out: the mean over items of a weighted sum of
variants, with an interval and a sign-flip test. The independent units are items, not transcripts. It does not know what
the variants mean."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from .bootstrap import MIN_CLUSTERS, NO_VARIATION, Floats
from .distributions import t_quantile
from .interval import Estimate, Resampling, withheld
from .zero import upper_bound

EXACT_SUMS = 20_000
"""The null distribution is enumerated up to this many distinct sums; beyond that, Monte Carlo."""
_CELLS = 1 << 19
"""Sign patterns times items at a time: 4 MB an array. The result does not depend on it."""
_SAME = 9
"""Sums that agree to this many decimals count as equal."""


@dataclass(frozen=True)
class SignFlip:
    """A test that the contrast is zero."""

    p_value: float
    """Two-sided."""
    exact: bool
    """True: all sign patterns are counted. False: patterns are drawn at random, plus the observed one."""


@dataclass(frozen=True)
class Contrast:
    """One weighted sum of variants over items."""

    estimate: Estimate
    """Mean over the items that have every variant of the contrast; n is their number."""
    differing: int
    """Items in which the contrast is not zero."""
    incomplete: int
    """Items left out because a variant of the contrast has no decided transcript."""
    test: SignFlip | None
    """None if the contrast is zero in every item, so that there is nothing to test."""


def item_means(
    values: Sequence[float | None],
    items: Sequence[Hashable],
    variants: Sequence[str | None],
    order: Sequence[str],
) -> Floats:
    """(I, V) mean value over the transcripts of each item and variant; NaN if none is decided.

    Args:
        values: (n,) one value per transcript; None for undecided.
        items: (n,) item of each transcript: the prompt family, which all variants share.
        variants: (n,) variant of each transcript. Variants that are not in `order` are left out.
        order: (V,) the variants that become columns.
    """
    rows = {item: i for i, item in enumerate(dict.fromkeys(items))}
    columns = {variant: j for j, variant in enumerate(order)}
    sums, counts = np.zeros((len(rows), len(order))), np.zeros((len(rows), len(order)))
    for value, item, variant in zip(values, items, variants, strict=True):
        if value is not None and variant in columns:
            sums[rows[item], columns[variant]] += value
            counts[rows[item], columns[variant]] += 1
    means: Floats = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return means


def within_items(cells: Floats, weights: Sequence[float], how: Resampling, bounded: bool = True) -> Contrast:
    """The contrast `cells @ weights`, item by item.

    `[1, -1]` is a paired difference. For the cells a1, a2, b1, b2 of a 2 x 2 design, `[1, -1, -1, 1]` is the
    interaction (a1 - a2) - (b1 - b2), and `[.5, .5, -.5, -.5]` is a main effect.

    The interval is t(n - 1) over items from 8 items on; where no item differs, the exact bound of the share of items
    that do bounds the mean, too. Observed coverage of a nominal 95 % with 12 to 43 items and rates from 0.02 to 0.9 (19
    settings, 300 replications each): 0.92 to 0.97, and 1.00 in the two sparsest. The bias-corrected bootstrap, which
    `bootstrap` prefers for rates, covers 0.88 to 0.92 where few items differ.

    Args:
        cells: (I, V) values, as from `item_means`.
        weights: (V,) that sum to zero. Items need the variants whose weight is not zero.
        how: Level; and resamples and seed where the test is not exact.
        bounded: The values lie in [0, 1]. Scores without limits: False.

    Raises:
        ValueError: The weights do not fit the cells or do not sum to zero.
    """
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != cells.shape[1:] or abs(float(weight.sum())) > 10**-_SAME:
        raise ValueError(f"weights {list(weights)} for {cells.shape[1]} variants; expected one each, summing to zero")
    values = cells[:, weight != 0] @ weight[weight != 0]
    found = np.round(values[~np.isnan(values)], _SAME)
    differing = int(np.count_nonzero(found))
    return Contrast(
        estimate=_interval(found, float(weight[weight > 0].sum()) if bounded else inf, how),
        differing=differing,
        incomplete=len(values) - len(found),
        test=sign_flip(found, how) if differing else None,
    )


def sign_flip(differences: Floats, how: Resampling) -> SignFlip:
    """Two-sided test that differences are symmetric around zero: flips the sign of each item (Fisher 1935, 21).

    The test is exact if variants are exchangeable within an item; for an interaction, if the effects of one factor at
    the levels of the other are. For 0/1 outcomes with one transcript per variant, the test of a difference is the exact
    McNemar test. With fewer than six differing items the p-value cannot fall below 0.05.

    Args:
        differences: (n,) one difference per item; zeros do not matter.
        how: Resamples and seed of the Monte Carlo form. Its p-value is never zero (Phipson and Smyth 2010).
    """
    magnitudes = np.abs(differences[differences != 0])
    observed = abs(float(differences.sum())) - 10**-_SAME
    listed = _all_sums(magnitudes)
    if listed is not None:
        sums, shares = listed
        return SignFlip(min(1.0, float(shares[np.abs(sums) >= observed].sum())), exact=True)
    rng, rows, extreme = np.random.default_rng(how.seed), max(1, _CELLS // len(magnitudes)), 0
    for start in range(0, how.resamples, rows):
        signs = rng.integers(0, 2, (min(rows, how.resamples - start), len(magnitudes))) * 2 - 1
        extreme += int((np.abs(signs @ magnitudes) >= observed).sum())
    return SignFlip((extreme + 1) / (how.resamples + 1), exact=False)


def _all_sums(magnitudes: Floats) -> tuple[Floats, Floats] | None:
    """The distinct sums over all sign patterns with their probabilities; None if there are too many."""
    sums: Floats = np.zeros(1)
    shares: Floats = np.ones(1)
    for magnitude in magnitudes:
        both = np.round(np.concatenate([sums + magnitude, sums - magnitude]), _SAME)
        sums, inverse = np.unique(both, return_inverse=True)
        if len(sums) > EXACT_SUMS:
            return None
        shares = np.bincount(inverse, weights=np.concatenate([shares, shares]) / 2).astype(np.float64)
    return sums, shares


def _interval(values: Floats, span: float, how: Resampling) -> Estimate:
    """The mean of values in [-span, span] with its interval; span may be infinite."""
    n = len(values)
    if n == 0:
        return withheld(None, 0, "t", "no item has every variant decided")
    mean = float(values.mean())
    if n < MIN_CLUSTERS:
        return withheld(mean, n, "t", f"{n} items; an interval needs at least {MIN_CLUSTERS}")
    if not values.any() and span < inf:
        bound = span * upper_bound(0, n, how.level)
        return Estimate(0.0, -bound, bound, n, "exact bound, no item differs")
    if float(np.ptp(values)) == 0:
        return withheld(mean, n, "t", NO_VARIATION)
    half = t_quantile(0.5 + how.level / 2, n - 1) * float(values.std(ddof=1)) / sqrt(n)
    return Estimate(mean, max(-span, mean - half), min(span, mean + half), n, f"t({n - 1}) over items")
