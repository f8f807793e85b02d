"""Reads a pack's `card.json` for a report: its figures with intervals, and whether the pack can express a belief.

A missing figure is shown as missing. Nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._format import MISSING, number

FIGURES = {
    "ar_reference_fve_nrm": "AR on reference explanations, fve_nrm",
    "round_trip_fve_nrm": "Round trip (activation, words, activation), fve_nrm",
    "round_trip_fve_meannorm": "Round trip, fve_meannorm (a constant scores 0)",
    "masked_overlap_fve_meannorm": "Round trip with words of the last 30 context tokens masked, fve_meannorm",
    "tail_baseline_fve_meannorm": "Baseline: quoted tail of equal length, fve_meannorm",
    "retrieval_top1_of_128": "Retrieval of the right activation, top 1 of 128",
    "beats_shuffled": "Own explanation beats a shuffled one",
    "next_token_agreement": "Explanation names the token that the target expects next",
    "closed_rate": "Explanations that close their tag",
    "told_recall": 'Recall on positions told "this is an evaluation"',
}
RECALL = "told_recall"


@dataclass(frozen=True)
class CardFigure:
    """One figure of the card, as text."""

    name: str
    value: str
    interval: str
    n: str
    number: float | None = None
    """The value as a number, where it is one."""


@dataclass(frozen=True)
class CardSummary:
    """The part of a pack's card that the report prints."""

    figures: list[CardFigure]
    expresses_belief: bool | None
    """None if the card does not say."""
    reason: str
    """The card's reason for that, if any."""
    recall: CardFigure | None
    """Recall on positions known to be aware; None if the card does not report it."""
    missing: list[str]
    """Standard figures that this card lacks."""
    target: str = ""
    """The pack's target; empty if the card does not name it."""
    layer: str = ""


def summarise(card: Mapping[str, Any] | None) -> CardSummary | None:
    """Read a card; None if the pack has none."""
    if card is None:
        return None
    figures = {key: _figure(label, card[key]) for key, label in FIGURES.items() if card.get(key) is not None}
    others = [
        _figure(str(key), value)
        for key, value in card.items()
        if key not in FIGURES and isinstance(value, Mapping) and "value" in value
    ]
    belief = card.get("expresses_belief")
    return CardSummary(
        figures=[*figures.values(), *others],
        expresses_belief=belief if isinstance(belief, bool) else None,
        reason=str(card.get("expresses_belief_reason", "")),
        recall=figures.get(RECALL),
        missing=[label for key, label in FIGURES.items() if key not in figures],
        target=str(card.get("target") or ""),
        layer=str(card.get("layer") or ""),
    )


def _figure(label: str, entry: object) -> CardFigure:
    if not isinstance(entry, Mapping):
        return CardFigure(label, _text(entry), "", "")
    ends = entry.get("interval")
    shown = f"{_text(ends[0])} to {_text(ends[1])}" if isinstance(ends, list | tuple) and len(ends) == 2 else ""
    value = entry.get("value")
    known = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return CardFigure(label, _text(value), shown, "" if entry.get("n") is None else str(entry["n"]), known)


def _text(value: object) -> str:
    if value is None:
        return MISSING
    return number(value, 3) if isinstance(value, float) else str(value)
