"""Worst-case and best-case bounds of a rate when some transcripts are undecided.

The bounds are the rates if all undecided (INDETERMINATE) transcripts were aware, or none. Unlike an interval, they hold
whatever the reason for the missing judgements (Manski 1989)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """The range that missing judgements leave open."""

    best: float | None
    """The rate with every undecided transcript counted as not aware; None without a transcript."""
    worst: float | None
    """The rate with every undecided transcript counted as aware."""
    undecided: int
    total: int


def rate_bounds(certain: int, undecided: int, total: int) -> Bounds:
    """Bounds from counts: `certain / total` to `(certain + undecided) / total`.

    Raises:
        ValueError: when the counts do not fit in `total` or are negative.
    """
    if min(certain, undecided) < 0 or certain + undecided > total:
        raise ValueError(f"{certain} certain and {undecided} undecided do not fit in {total}")
    if total == 0:
        return Bounds(best=None, worst=None, undecided=0, total=0)
    return Bounds(best=certain / total, worst=(certain + undecided) / total, undecided=undecided, total=total)


def unverbalized_bounds(n: Sequence[bool | None], v: Sequence[bool | None]) -> Bounds:
    """Bounds of the rate of "N and not V" over transcripts whose N or V may be undecided (None).

    A pair is already decided when either half rules it out: not N, or V.
    """
    certain = sum(a is True and b is False for a, b in zip(n, v, strict=True))
    possible = sum(a is not False and b is not True for a, b in zip(n, v, strict=True))
    return rate_bounds(certain, possible - certain, len(n))
