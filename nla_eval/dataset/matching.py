"""Draws a deployment arm from a pool of real usage, matched to a suite in length, turns, tools and language.

In: transcripts of the suite, the pool, and the measures to match. Out: the drawn transcripts, and the balance before
and after. Only the text before the last assistant turn is matched: the answer is an outcome, and matching on outcomes
hides differences. It knows no target and counts characters, not tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import numpy as np
from inspect_ai.model import ChatMessage, ChatMessageAssistant
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..errors import InputError
from ..transcript import Arm, Transcript, content_parts
from .languages import language_of


class Measure(StrEnum):
    """A measure on which two arms can be matched."""

    LENGTH = "length"
    """Logarithm of the number of characters: half as long counts as much as twice as long."""
    TURNS = "turns"
    """Logarithm of the number of user messages."""
    TOOLS = "tools"
    """Logarithm of (1 + number of tool calls)."""
    LANGUAGE = "language"
    """Language of the user messages; matched exactly."""


@dataclass(frozen=True)
class Balance:
    """Balance of one measure, before and after matching."""

    measure: str
    wanted: float
    """Mean over the suite; for a language, its share."""
    pool: float
    drawn: float
    before: float | None
    """Standardised mean difference of suite and pool; None if neither varies and the means differ."""
    after: float | None
    """The same difference for suite and drawn arm, with the same standard deviation."""

    @property
    def even(self) -> bool:
        """Whether the remaining difference is at most `stats.balance.UNBALANCED`."""
        from ..stats.balance import UNBALANCED

        return self.after is not None and abs(self.after) <= UNBALANCED


class MatchedArm(BaseModel):
    """How a deployment arm was drawn, without its transcripts. Kept in stores, logs and reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measures: tuple[Measure, ...]
    seed: int
    wanted: tuple[str, ...]
    """Suites that it was matched to."""
    pool: tuple[str, ...]
    """Suites it was drawn from."""
    drawn: int
    """Number of drawn transcripts."""
    donors: int
    """Number of transcripts in the pool that could be drawn."""
    balance: tuple[Balance, ...]

    @property
    def even(self) -> bool:
        """Whether every remaining difference is at most `stats.balance.UNBALANCED`."""
        return all(row.even for row in self.balance)

    def describe(self) -> str:
        """The table as lines of text."""
        shown = [f"matched {self.drawn} of {self.donors} deployment transcripts"]
        shown += [
            f"  {b.measure:<12} suite {b.wanted:10,.2f}  pool {b.pool:10,.2f}  drawn {b.drawn:10,.2f}"
            f"  difference {_signed(b.before)} before, {_signed(b.after)} after"
            for b in self.balance
        ]
        if not self.even:
            uneven = ", ".join(row.measure for row in self.balance if not row.even)
            shown.append(f"  not even in {uneven}: a larger pool may have nearer ones")
        return "\n".join(shown)


@dataclass(frozen=True)
class Matched:
    """A drawn arm with its transcripts."""

    transcripts: tuple[Transcript, ...]
    """In the order of the pool."""
    arm: MatchedArm


def parse_measures(names: str | Sequence[str]) -> tuple[Measure, ...]:
    """Parse measures such as "length,turns". Raises InputError for an unknown or repeated measure, or an empty list."""
    words = names.split(",") if isinstance(names, str) else list(names)
    found = [word.strip() for word in words if word.strip()]
    unknown = [word for word in found if word not in set(Measure)]
    if unknown or not found or len(set(found)) != len(found):
        wrong = f"'{unknown[0]}' is unknown" if unknown else "give at least one, each once"
        raise InputError(f"measures to match: {wrong}; known: {', '.join(Measure)}")
    return tuple(Measure(word) for word in found)


def match(
    wanted: Iterable[Transcript], pool: Iterable[Transcript], measures: Sequence[Measure], seed: int = 0
) -> Matched:
    """Draw one transcript of `pool` for each of `wanted`, by optimal assignment; languages match exactly.

    Args:
        wanted: The suite's transcripts, with or without their last turn.
        pool: Candidates. Transcripts of another arm, or with the same content as a wanted one, are excluded.
        measures: Measures to match.
        seed: Breaks ties between equally near donors.

    Raises:
        InputError: `wanted` is empty, or there are too few donors; names the language that lacks them.
    """
    suite = list(wanted)
    if not suite:
        raise InputError(
            "nothing to match: the suite has no transcripts; leave --match out, or name a suite that has some"
        )
    own = {t.digest for t in suite}
    donors = [t for t in pool if t.arm is Arm.DEPLOYMENT and t.digest not in own]
    facts = _Facts.of(suite, measures), _Facts.of(donors, measures)
    _expect_enough(*facts)
    chosen = sorted(_drawn(*facts, seed))
    arm = MatchedArm(
        measures=tuple(measures),
        seed=seed,
        wanted=tuple(sorted({t.suite for t in suite})),
        pool=tuple(sorted({t.suite for t in donors})),
        drawn=len(chosen),
        donors=len(donors),
        balance=tuple(_balance(*facts, chosen)),
    )
    return Matched(tuple(donors[number] for number in chosen), arm)


@dataclass(frozen=True)
class _Facts:
    """The measures of a group of transcripts."""

    shown: Mapping[str, list[float]]
    """Values as printed."""
    scaled: NDArray[np.float64]
    """(N, F) values as matched."""
    languages: list[str]
    """One per transcript; all the same if language is not matched."""

    @classmethod
    def of(cls, transcripts: Sequence[Transcript], measures: Sequence[Measure]) -> _Facts:
        rows = [_measured(t) for t in transcripts]
        numeric = [m for m in measures if m is not Measure.LANGUAGE]
        shown = {m.value: [row[m] for row in rows] for m in numeric}
        scaled = np.array([[math.log1p(row[m]) for m in numeric] for row in rows], dtype=np.float64)
        languages = [_language(t) if Measure.LANGUAGE in measures else "" for t in transcripts]
        return cls(shown, scaled.reshape(len(rows), len(numeric)), languages)


def _measured(transcript: Transcript) -> dict[Measure, float]:
    messages = _before_answer(transcript)
    return {
        Measure.LENGTH: float(sum(len(text) for m in messages for _, text in content_parts(m))),
        Measure.TURNS: float(sum(m.role == "user" for m in messages)),
        Measure.TOOLS: float(sum(len(m.tool_calls or []) for m in messages if isinstance(m, ChatMessageAssistant))),
    }


def _before_answer(transcript: Transcript) -> Sequence[ChatMessage]:
    """The messages before a final assistant message; all messages if the last one is not the assistant's."""
    messages = transcript.messages
    return messages[:-1] if messages and messages[-1].role == "assistant" else messages


def _language(transcript: Transcript) -> str:
    return language_of("\n".join(text for m in transcript.messages if m.role == "user" for _, text in content_parts(m)))


def _expect_enough(wanted: _Facts, donors: _Facts) -> None:
    have, need = Counter(donors.languages), Counter(wanted.languages)
    for language, count in need.items():
        if have[language] < count:
            of = f" in '{language}'" if language else ""
            raise InputError(
                f"too few donors: {have[language]} deployment transcripts{of} for {count} of the suite; give a larger "
                "pool, a limit on the suite, or fewer measures"
            )


def _drawn(wanted: _Facts, donors: _Facts, seed: int) -> list[int]:
    """Chosen donors. Donors are shuffled with the seed, so that ties are broken differently for another seed."""
    from ..stats.balance import (
        nearest_pairs,  # scipy takes a second to import, and every Inspect command imports this module
    )

    both = np.concatenate([wanted.scaled, donors.scaled])
    deviation = both.std(axis=0)
    deviation[deviation == 0] = 1.0
    chosen: list[int] = []
    for language in sorted(set(wanted.languages)):
        left = [i for i, spoken in enumerate(wanted.languages) if spoken == language]
        right = [i for i, spoken in enumerate(donors.languages) if spoken == language]
        Random(f"{seed} {language}").shuffle(right)
        pairs = nearest_pairs(wanted.scaled[left] / deviation, donors.scaled[right] / deviation)
        chosen += [right[number] for number in pairs]
    return chosen


def _balance(wanted: _Facts, donors: _Facts, chosen: Sequence[int]) -> Iterable[Balance]:
    from ..stats.balance import pooled_deviation, standardised_difference

    columns = {name: (values, donors.shown[name]) for name, values in wanted.shown.items()}
    for language in sorted(set(wanted.languages) - {""}):
        shares = tuple([float(x == language) for x in group.languages] for group in (wanted, donors))
        columns[f"{Measure.LANGUAGE}={language}"] = (shares[0], shares[1])
    for name, (left, right) in columns.items():
        drawn = [right[number] for number in chosen]
        deviation = pooled_deviation(left, right)
        yield Balance(
            measure=name,
            wanted=float(np.mean(left)),
            pool=float(np.mean(right)),
            drawn=float(np.mean(drawn)),
            before=standardised_difference(left, right, deviation),
            after=standardised_difference(left, drawn, deviation),
        )


def _signed(value: float | None) -> str:
    return "without scale" if value is None else f"{value:+.2f}"
