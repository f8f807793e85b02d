"""Compares two packs: differences of the figures in their cards, or paired differences measured on the same rows.

A comparison of cards treats the two measurements as independent. If both used the same rows and the packs' errors
correlate positively, its intervals are too wide, not too narrow. A record's digest says whether the rows were the
same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np

from ..errors import InputError
from .evaluate import Measured
from .figures import Figure, Ints, difference


@dataclass(frozen=True)
class Compared:
    """One figure of both packs."""

    name: str
    first: Figure
    second: Figure
    gain: Figure
    """Second minus first."""


@dataclass(frozen=True)
class Comparison:
    """All figures that both packs have."""

    rows: list[Compared]
    how: str
    """How the intervals of the differences were computed."""
    only_one: list[str]
    """Figures that only one of the packs has."""


def compare_cards(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Compare the figures of two cards.

    The interval of a difference combines the two half-widths in quadrature on each side (Zou and Donner 2008, the
    method of variance estimates recovery).

    Raises:
        InputError: The cards have no figure in common.
    """
    ours, theirs = _figures(first), _figures(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise InputError("the two cards have no figure in common; measure both packs with nla-eval pack card --measure")
    same = _digest(first) is not None and _digest(first) == _digest(second)
    how = "from the cards, taken as independent" + (
        "; both were measured on the same rows, so --measure gives narrower, paired intervals" if same else ""
    )
    rows = [Compared(n, ours[n], theirs[n], _independent(ours[n], theirs[n])) for n in shared]
    return Comparison(rows, how, sorted(ours.keys() ^ theirs.keys()))


def compare_measured(first: Measured, second: Measured, conversation: Ints) -> Comparison:
    """Paired differences of two packs on the same held-out rows.

    Args:
        first: One pack, measured.
        second: The other, on the same rows.
        conversation: (n,) cluster of each row.

    Raises:
        InputError: The packs were measured on different rows.
    """
    a, b = first.record, second.record
    if a.held_out.digest != b.held_out.digest:
        raise InputError(
            f"the packs were measured on different rows ({a.held_out.digest}, {b.held_out.digest}); measure both on "
            "the same source"
        )
    shared = [name for name in first.rows if name in second.rows]
    rows = []
    for name in shared:
        gaps = second.rows[name] - first.rows[name]
        has = np.isfinite(gaps)
        rows.append(Compared(name, a.figures[name], b.figures[name], difference(gaps[has], conversation[has])))
    how = f"paired by row, by conversation ({a.held_out.kind}, rows {a.held_out.digest})"
    return Comparison(rows, how, sorted(first.rows.keys() ^ second.rows.keys()))


def _figures(card: Mapping[str, Any]) -> dict[str, Figure]:
    entries = {**card, **card.get("controls", {})}
    return {
        name: Figure.read(entry)
        for name, entry in entries.items()
        if isinstance(entry, Mapping) and "value" in entry and len(entry.get("interval") or ()) == 2
    }


def _digest(card: Mapping[str, Any]) -> str | None:
    record = card.get("record")
    return record["held_out"]["digest"] if isinstance(record, Mapping) else None


def _independent(first: Figure, second: Figure) -> Figure:
    gap = second.value - first.value
    ends: tuple[float | None, float | None] = (None, None)
    if None not in (*first.interval, *second.interval):
        down = hypot(second.value - float(second.low or 0.0), float(first.high or 0.0) - first.value)
        up = hypot(float(second.high or 0.0) - second.value, first.value - float(first.low or 0.0))
        ends = (gap - down, gap + up)
    return Figure(value=gap, interval=ends, n=min(first.n, second.n))
