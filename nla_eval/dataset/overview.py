"""Summarises how a source was read: records read and left out with reasons, roles, lengths, tools, languages, families,
and a few samples. A pure tally over a source's items, read once. It prints nothing."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool

from ..cards.choices import THRESHOLD
from ..sources import Item, Skipped, SourceNotes, Unread
from ..transcript import Transcript, TurnFacts, content_parts
from .families import Families, Family
from .languages import language_of
from .redact import redact_messages

SHARES = (0, 5, 25, 50, 75, 95, 100)
"""Percentiles given for lengths."""
_SAMPLES = 10
_LARGEST = 5
_SHOWN = 160
_TEXT = ("text", "thinking")


@dataclass(frozen=True)
class Dropped:
    """Records left out for one reason."""

    reason: str
    """The reason as first given."""
    count: int
    first: str
    """Place of the first such record."""


@dataclass(frozen=True)
class Sample:
    """A transcript in short. Texts are unescaped: escape them before display."""

    id: str
    family: str
    roles: str
    """Roles in order, with the length of runs: "system user assistant tool 3 assistant"."""
    first: str
    """Start of the first user message."""
    last: str
    """Start of the last assistant message."""


@dataclass(frozen=True)
class ToolUse:
    """How transcripts use tools."""

    defined: int
    """Transcripts with tool definitions."""
    calling: int
    """Transcripts in which the model calls one."""
    calls: int
    results: int
    unanswered: int
    """Calls without a result."""
    uncalled: int
    """Results without an earlier call."""
    unparsed: int
    """Calls whose arguments are not a JSON object."""


@dataclass(frozen=True)
class TurnsRead:
    """Authors of the assistant turns, how turns and samples ended, and which conversations of a log were read."""

    authors: dict[str, int]
    """Assistant turns by author. A turn that occurs in several transcripts of one run counts once."""
    cut: dict[str, int]
    """Turns ended by a limit or filter, by its name."""
    kept: dict[str, int]
    """Transcripts that were read although their sample hit a limit, failed, or was marked invalid, by reason."""
    role: dict[str, int]
    """Transcripts by the model role of the conversation; "main" for the log's main model."""
    calls: dict[str, int]
    """Model calls in the logs, by model role."""


@dataclass(frozen=True)
class Overview:
    """Summary of a source."""

    records: int
    """All records: `transcripts` plus dropped ones."""
    transcripts: int
    dropped: tuple[Dropped, ...]
    roles: dict[str, int]
    """Messages by role."""
    messages: dict[str, int]
    """Messages per transcript: percentile, "0" to "100", to value."""
    characters: dict[str, int]
    """Characters per transcript (text, thinking and tool calls): percentile to value."""
    tools: ToolUse
    other_content: dict[str, int]
    """Non-text parts by kind. A text model does not see them."""
    languages: dict[str, int]
    """Transcripts by language of the user messages."""
    models: dict[str, int]
    turns: TurnsRead
    outcomes: dict[str, int]
    families: int
    family_rules: dict[str, int]
    """Transcripts by the rule that gave their family, before joining near-duplicates."""
    largest_families: tuple[Family, ...]
    exact_duplicates: int
    near_duplicates: int
    masked: dict[str, int]
    """Maskings by kind, if requested."""
    counts: dict[str, int]
    """Other counts of the reader: branches left out, unreadable thinking, ..."""
    unread: dict[str, Unread]
    """Keys that hold text but were not read, most characters first."""
    samples: tuple[Sample, ...]


@dataclass
class _TurnCounts:
    """Running counts for `TurnsRead`."""

    authors: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    role: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    """(run, message id) of counted turns, for runs with several transcripts."""

    def add(self, transcript: Transcript) -> None:
        """Count one transcript."""
        facts, run = transcript.metadata, transcript.metadata.get("run")
        turns = [message for message in transcript.messages if message.role == "assistant"]
        for turn, fact in zip(turns, transcript.turn_facts or (TurnFacts(),) * len(turns), strict=True):
            if run is not None and turn.id is not None:
                if (run, turn.id) in self.seen:
                    continue
                self.seen.add((run, turn.id))
            self.authors[fact.author] += 1
            if fact.cut:
                self.cut[str(fact.stop)] += 1
        if "limit" in facts:
            self.kept[f"limit {facts['limit']}"] += 1
        self.kept.update(kind for kind in ("error", "invalidated") if kind in facts)
        if "model_role" in facts:
            self.role[facts["model_role"]] += 1
            self.calls.update(json.loads(facts.get("model_calls", "{}")))

    def read(self) -> TurnsRead:
        """The counts so far."""
        return TurnsRead(**{part.name: dict(getattr(self, part.name).most_common()) for part in fields(TurnsRead)})


@dataclass
class _Tally:
    roles: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    turns: _TurnCounts = field(default_factory=_TurnCounts)
    outcomes: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    messages: list[int] = field(default_factory=list)
    characters: list[int] = field(default_factory=list)


def overview(
    items: Iterable[Item],
    *,
    notes: SourceNotes | None = None,
    near_duplicates: float | None = THRESHOLD,
    redact: bool = False,
    seed: int = 0,
) -> tuple[Overview, Families]:
    """Tally the items of a source. They are read once and not kept.

    Args:
        items: Transcripts and skipped rows.
        notes: Notes of the options that read the items.
        near_duplicates: Minimum similarity at which prompts share a family; None: only count near-duplicates.
        redact: Count the personal data that masking would mask, and mask the samples.
        seed: Seed for choosing samples.

    Returns:
        The overview, and the families with their merges.
    """
    tally, dropped = _Tally(), _Reasons()
    families = Families(near_duplicates or THRESHOLD, merge=near_duplicates is not None)
    chosen: list[Transcript] = []
    rng, count = random.Random(seed), 0
    for item in items:
        if isinstance(item, Skipped):
            dropped.add(item)
            continue
        transcript = item
        if redact:
            messages, masked = redact_messages(item.messages)
            tally.masked.update(masked)
            transcript = item.model_copy(update={"messages": messages})
        _add(tally, transcript)
        families.add(item, transcript)
        count += 1
        # Reservoir sampling (Vitter 1985, algorithm R): every transcript is equally likely to be shown.
        if len(chosen) < _SAMPLES:
            chosen.append(transcript)
        elif (at := rng.randrange(count)) < _SAMPLES:
            chosen[at] = transcript
    return _overview(tally, families, dropped, chosen, notes or SourceNotes()), families


class _Reasons:
    """Dropped rows by reason. Reasons that differ only in numbers or quoted names count as one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, Skipped] = {}

    def add(self, row: Skipped) -> None:
        kind = re.sub(r"'[^']*'", "'…'", re.sub(r"\d+", "0", row.reason))
        self.counts[kind] += 1
        self.first.setdefault(kind, row)

    def rows(self) -> tuple[Dropped, ...]:
        return tuple(
            Dropped(self.first[kind].reason, count, self.first[kind].where) for kind, count in self.counts.most_common()
        )


def _add(tally: _Tally, transcript: Transcript) -> None:
    characters = 0
    asked: list[str] = []
    for message in transcript.messages:
        tally.roles[message.role] += 1
        for kind, text in content_parts(message):
            characters += len(text)
            if kind not in _TEXT:
                tally.other[kind] += 1
            elif message.role == "user":
                asked.append(text)
        if isinstance(message, ChatMessageAssistant):
            characters += sum(len(str(call.arguments)) for call in message.tool_calls or ())
    tally.messages.append(len(transcript.messages))
    tally.characters.append(characters)
    tally.languages[language_of("\n".join(asked))] += 1
    tally.models[transcript.provenance.model or "not recorded"] += 1
    tally.turns.add(transcript)
    tally.outcomes[transcript.outcome or "not recorded"] += 1
    _add_tools(tally.tools, transcript)


def _add_tools(tools: Counter[str], transcript: Transcript) -> None:
    """Count calls and results. They are matched by id in order, so that repeated ids match one by one."""
    open_calls: Counter[str] = Counter()
    calls = 0
    for message in transcript.messages:
        if isinstance(message, ChatMessageAssistant):
            made = message.tool_calls or []
            calls += len(made)
            open_calls.update(call.id for call in made)
            tools["unparsed"] += sum(call.parse_error is not None for call in made)
        elif isinstance(message, ChatMessageTool):
            tools["results"] += 1
            if open_calls[message.tool_call_id or ""] > 0:
                open_calls[message.tool_call_id or ""] -= 1
            else:
                tools["uncalled"] += 1
    tools["calls"] += calls
    tools["calling"] += calls > 0
    tools["defined"] += bool(transcript.tools)
    tools["unanswered"] += sum(open_calls.values())


def _overview(
    tally: _Tally, families: Families, dropped: _Reasons, chosen: Sequence[Transcript], notes: SourceNotes
) -> Overview:
    count = len(tally.messages)
    return Overview(
        records=count + sum(dropped.counts.values()),
        transcripts=count,
        dropped=dropped.rows(),
        roles=dict(tally.roles.most_common()),
        messages=_percentiles(tally.messages),
        characters=_percentiles(tally.characters),
        tools=ToolUse(**{part.name: tally.tools[part.name] for part in fields(ToolUse)}),
        other_content=dict(tally.other.most_common()),
        languages=dict(tally.languages.most_common()),
        models=dict(tally.models.most_common()),
        turns=tally.turns.read(),
        outcomes=dict(tally.outcomes.most_common()),
        families=len(families.sizes()),
        family_rules=dict(sorted(notes.families.items(), key=lambda rule: -rule[1])),
        largest_families=tuple(families.largest(_LARGEST)),
        exact_duplicates=families.exact,
        near_duplicates=families.near,
        masked=dict(tally.masked.most_common()),
        counts=dict(notes.counts),
        unread=dict(sorted(notes.unread.items(), key=lambda key: -key[1].characters)),
        samples=tuple(_sample(transcript, families) for transcript in chosen),
    )


def _percentiles(values: Sequence[int]) -> dict[str, int]:
    """Percentiles that are observed values, never interpolated."""
    if not values:
        return {}
    found = np.percentile(values, SHARES, method="inverted_cdf")
    return {str(share): int(value) for share, value in zip(SHARES, found, strict=True)}


def _sample(transcript: Transcript, families: Families) -> Sample:
    users = [_words(transcript, "user"), _words(transcript, "system")]
    return Sample(
        id=transcript.id,
        family=families.of(transcript),
        roles=_runs([message.role for message in transcript.messages]),
        first=next((text for said in users for text in said), "")[:_SHOWN],
        last=next(reversed(_words(transcript, "assistant")), "")[:_SHOWN],
    )


def _words(transcript: Transcript, role: str) -> list[str]:
    said = ("\n".join(t for _, t in content_parts(m)).strip() for m in transcript.messages if m.role == role)
    return [text for text in said if text]


def _runs(roles: Sequence[str]) -> str:
    found: list[list[str]] = []
    for role in roles:
        if found and found[-1][0] == role:
            found[-1].append(role)
        else:
            found.append([role])
    shown = [run[0] if len(run) == 1 else f"{run[0]} {len(run)}" for run in found[:12]]
    return ", ".join(shown) + (f", … ({len(roles)} messages)" if len(found) > len(shown) else "")
