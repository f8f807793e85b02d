"""The runs of a comparison: what it needs of each, how each was made, and what follows from that for a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ..store.rows import SCORE_SCHEMA
from .headlines import Board
from .types import SuiteTally, Tally
from .types_diff import Fact, Pairing

SHARED = 0.5
"""Transcripts, and families, are compared one by one if at least this share of the smaller run stands in both."""
ABSENT = "not recorded"
_FIRST = ("target", "target hash", "layer", "pack", "preset", "classifier", "rubric", "policy", "draws", "seed")
"""Facts that come first."""
_NAMES = {"target": "the target", "pack": "the pack", "classifier": "the classifier"}

Key = tuple[str, str]
"""Arm and suite."""


@dataclass(frozen=True)
class Side:
    """One run."""

    name: str
    tally: Tally
    board: Board
    """Verdicts under the headline of the comparison."""
    facts: Mapping[str, str]
    """How it was made, by names that runs share."""
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORE_SCHEMA))
    """What lanes without texts say: columns of `store.rows.SCORE_SCHEMA`."""

    @property
    def suites(self) -> dict[Key, SuiteTally]:
        """Its suites by arm and name."""
        return {(suite.arm, suite.suite): suite for suite in self.tally.suites}


def facts(sides: Sequence[Side]) -> tuple[list[Fact], list[Fact]]:
    """Facts that differ, those that decide what a rate means first; and facts that do not."""
    every = dict.fromkeys(name for side in sides for name in side.facts)
    order = sorted(every, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
    found = [Fact(name=name, values=[side.facts.get(name) or ABSENT for side in sides]) for name in order]
    return [f for f in found if len({*f.values}) > 1], [f for f in found if len({*f.values}) == 1]


def notes(sides: Sequence[Side], labels: Sequence[str], pairings: Sequence[Pairing]) -> list[str]:
    """What limits a comparison, one sentence each."""
    said = []
    changed = [what for name, what in _NAMES.items() if len({side.facts.get(name) for side in sides}) > 1]
    if "the pack" in changed:
        said.append(
            "The packs differ. A rate of N is relative to its pack, so a difference in N may lie in the instrument and "
            "not in the target."
        )
    if "the classifier" in changed:
        said.append("The classifiers differ, so a difference may lie in the judge.")
    if len(changed) > 1:
        named = f"{', '.join(changed[:-1])} and {changed[-1]}"
        said.append(f"{named[:1].upper()}{named[1:]} differ at once: no row shows which of them moved a rate.")
    apart = sorted({pairing.suite for pairing in pairings if not pairing.paired})
    if apart:
        said.append(
            f"Unpaired: {', '.join(apart)}. The runs share too few transcripts there, so they are compared as "
            "independent samples, which needs a larger difference."
        )
    other_words = sorted({pairing.suite for pairing in pairings if pairing.paired and pairing.by_id})
    if other_words:
        said.append(
            f"Paired by id: {', '.join(other_words)}. The prompt is the same and the target's turn is not, so a "
            "difference includes what each target wrote."
        )
    for label, side in zip(labels, sides, strict=True):
        if side.tally.headline_stopped:
            said.append(f"No rate of {label} is a headline: {side.tally.headline_stopped}.")
    return said
