"""What a row of a comparison says: by the interval of its difference, and by Holm's correction over all rows."""

from __future__ import annotations

from collections.abc import Sequence

from ..stats.holm import holm
from ..stats.interval import Estimate
from .types_diff import Change, Moved, MovedAuroc

SIGNIFICANT = 0.05


def change(difference: Estimate, holm_p: float | None = None) -> Change:
    """What the row says; before the correction, at most that the interval leaves zero out."""
    low, high = difference.low, difference.high
    if low is None or high is None:
        return Change.OPEN
    if low <= 0 <= high:
        return Change.NONE
    if holm_p is None or holm_p >= SIGNIFICANT:
        return Change.UNSURE
    return Change.UP if low > 0 else Change.DOWN


def corrected(rates: Sequence[Moved], aurocs: Sequence[MovedAuroc]) -> tuple[list[Moved], list[MovedAuroc]]:
    """The rows with Holm's p over all of them that have a test, and what each then says."""
    every: list[Moved | MovedAuroc] = [*rates, *aurocs]
    tested = [i for i, row in enumerate(every) if row.p is not None]
    adjusted = dict(zip(tested, holm([row.p for row in every if row.p is not None]), strict=True))
    shown = [{"holm_p": adjusted.get(i), "change": change(row.difference, adjusted.get(i))}
             for i, row in enumerate(every)]  # fmt: skip
    return (
        [row.model_copy(update=said) for row, said in zip(rates, shown[: len(rates)], strict=True)],
        [row.model_copy(update=said) for row, said in zip(aurocs, shown[len(rates) :], strict=True)],
    )
