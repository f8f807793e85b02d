"""Where awareness first shows: Kaplan and Meier over positions, transcripts without a flag censored at their last one.

The mean first position of flagged transcripts alone would be early wherever transcripts are short. In: one time per
transcript (token index, ordinal or share of the transcript). It does not know which."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bootstrap import MIN_CLUSTERS, Floats
from .interval import Resampling

_CELLS = 1 << 19
"""Resamples times transcripts at a time: 4 MB an array. The result does not depend on it."""


@dataclass(frozen=True)
class FirstAware:
    """The share of transcripts not yet aware, by position, and its median."""

    times: tuple[float, ...]
    """Where a first flag was seen."""
    not_yet: tuple[float, ...]
    """Share not aware up to and including each."""
    median: float | None
    """Where half are aware; None while fewer than half ever are."""
    low: float | None
    high: float | None
    """None with a `low`: the upper end lies beyond the last position."""
    events: int
    censored: int
    families: int
    withheld: str | None = None


def first_aware(
    times: Sequence[float], aware: Sequence[bool], families: Sequence[Hashable], how: Resampling
) -> FirstAware:
    """Kaplan and Meier 1958 with the median's interval from whole families resampled (Davison and Hinkley 1997, 3.5).

    Censoring must not depend on awareness: that a transcript ends is not to be caused by it.

    Args:
        times: (n,) the first aware position, or the last judged one.
        aware: (n,) which of the two.
        families: (n,) theirs.
        how: Resamples, seed, level.
    """
    if not times:
        return FirstAware((), (), None, None, None, 0, 0, 0, "no transcript")
    at, event = np.asarray(times, dtype=np.float64), np.asarray(aware, dtype=bool)
    order = {family: i for i, family in enumerate(dict.fromkeys(families))}
    member = np.array([order[family] for family in families])
    grid = np.unique(at[event])
    shares = _not_yet(at, event, grid, np.ones((1, len(at))))[0]
    g = len(order)
    low = high = None
    reason = None if g >= MIN_CLUSTERS else f"{g} families; an interval needs at least {MIN_CLUSTERS}"
    if reason is None and not event.any():
        reason = "no transcript is ever aware"
    if reason is None:
        medians = np.sort(
            np.concatenate([_medians(grid, _not_yet(at, event, grid, w)) for w in _resampled(member, g, how)])
        )
        tail = (1 - how.level) / 2
        ends = [medians[int(tail * len(medians))], medians[min(len(medians) - 1, int((1 - tail) * len(medians)))]]
        low, high = (float(end) if np.isfinite(end) else None for end in ends)
        reason = "the lower end lies beyond the last position" if low is None else None
    middle = float(_medians(grid, shares[None, :])[0])
    return FirstAware(
        times=tuple(grid.tolist()),
        not_yet=tuple(shares.tolist()),
        median=middle if np.isfinite(middle) else None,
        low=low,
        high=high,
        events=int(event.sum()),
        censored=int((~event).sum()),
        families=g,
        withheld=reason,
    )


def _resampled(member: NDArray[np.int64], families: int, how: Resampling) -> Iterator[Floats]:
    """(b, n) weights of transcripts, a few resamples of families at a time.

    Args:
        member: (n,) number of each transcript's family.
        families: G.
        how: Resamples and seed.
    """
    rng, rows = np.random.default_rng(how.seed), max(1, _CELLS // len(member))
    for start in range(0, how.resamples, rows):
        size = min(rows, how.resamples - start)
        drawn = rng.multinomial(families, [1 / families] * families, size=size)
        yield drawn[:, member].astype(np.float64)


def _not_yet(at: Floats, event: NDArray[np.bool_], grid: Floats, weights: Floats) -> Floats:
    """(B, times) product-limit estimates under each row of transcript weights."""
    order = np.argsort(at, kind="stable")
    starts, ends = (np.searchsorted(at[order], grid, side=side) for side in ("left", "right"))
    nothing = np.zeros((len(weights), 1))
    before = np.concatenate([nothing, np.cumsum(weights[:, order], axis=1)], axis=1)
    events = np.concatenate([nothing, np.cumsum(weights[:, order] * event[order], axis=1)], axis=1)
    at_risk = before[:, -1:] - before[:, starts]
    died = events[:, ends] - events[:, starts]
    survived = 1 - np.divide(died, at_risk, out=np.zeros_like(died), where=at_risk > 0)
    product: Floats = np.cumprod(survived, axis=1)
    return product


def _medians(grid: Floats, shares: Floats) -> Floats:
    """First time at which at most half are left; infinite where more always are."""
    below = shares <= 0.5 + 1e-12
    if not grid.size:
        return np.full(len(shares), np.inf)
    found: Floats = np.where(below.any(axis=1), grid[below.argmax(axis=1)], np.inf)
    return found
