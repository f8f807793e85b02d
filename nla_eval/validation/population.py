"""The texts that one classifier judged, each once, with what is needed to stratify them. In: the frames of a tally."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl

from ..judgement import JUDGED, Label, Outcome
from ..judging.error_rates import Kind
from ..readings import KEY, Lane, StopReason
from ..tally.frames import Frames

_JUDGED = [outcome.value for outcome in JUDGED]


@dataclass(frozen=True)
class JudgedText:
    """One text and the classifier's judgement of it."""

    kind: Kind
    text: str
    outcome: Outcome
    labels: tuple[Label, ...]
    score: float | None
    where: str
    """Lane of an explanation, part of a turn."""
    arm: str
    suite: str
    copies: int = 1
    """Judgements with this text: what it stands for in a rate."""

    @cached_property
    def id(self) -> str:
        """A hash of kind and text: it tells a labeller nothing."""
        return hashlib.sha256(f"{self.kind}|{self.text}".encode("utf-8", "replace")).hexdigest()[:16]


def judged_texts(frames: Frames) -> list[JudgedText]:
    """Every judged explanation and part of a turn, equal texts of a kind once, by id.

    A text that occurs in several places has the place that comes first: the measured lane before controls, then by arm
    and suite. Truncated and failed readings have no text to label and are left out.
    """
    facts = frames.transcripts.unique("transcript_digest", keep="first", maintain_order=True)
    facts = facts.select("transcript_digest", "arm", "suite")
    closed = frames.readings.filter(pl.col("stop") == StopReason.CLOSED.value).select(*KEY, "explanation")
    explanations = frames.judgements.join(closed, on=list(KEY), how="inner").rename({"explanation": "judged_text"})
    turns = frames.turns.rename({"text": "judged_text", "part": "lane"})
    lanes = {lane.value: str(number) for number, lane in enumerate(Lane)}
    found = [
        *_rows("explanation", explanations.join(facts, on="transcript_digest", how="inner"), lanes),
        *_rows("turn", turns.join(facts, on="transcript_digest", how="inner"), {}),
    ]
    return sorted(_once(found), key=lambda judged: judged.id)


def _rows(kind: Kind, frame: pl.DataFrame, order: Mapping[str, str]) -> Iterator[JudgedText]:
    judged = frame.filter(pl.col("outcome").is_in(_JUDGED) & (pl.col("judged_text").str.strip_chars() != ""))
    place = pl.col("lane").replace(order)
    for row in judged.sort(place, "arm", "suite", "judged_text").iter_rows(named=True):
        yield _text(kind, row)


def _text(kind: Kind, row: dict[str, Any]) -> JudgedText:
    return JudgedText(
        kind=kind,
        text=row["judged_text"],
        outcome=Outcome(row["outcome"]),
        labels=tuple(Label(label) for label in row["labels"] or ()),
        score=row["score"],
        where=row["lane"],
        arm=row["arm"],
        suite=row["suite"],
    )


def _once(texts: Iterable[JudgedText]) -> list[JudgedText]:
    found: dict[str, JudgedText] = {}
    for text in texts:
        first = found.get(text.id)
        found[text.id] = text if first is None else replace(first, copies=first.copies + 1)
    return list(found.values())
