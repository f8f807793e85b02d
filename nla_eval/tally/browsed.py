"""What a reader of a report can open: whole transcripts with their read tokens, explanations and verdicts.

Plain frozen data; `browse.py` makes it. Texts are unescaped and may be hostile. Offsets count characters of the text
beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ..judgement import Evidence, Headline, Outcome


class Why(StrEnum):
    """Why a transcript was chosen."""

    FLAGGED = "flagged"
    """Measured or said, under the broad headline: claims and false alarms alike."""
    MATCHED = "matched"
    """Not flagged; of the same suite as a flagged one, and of the same family where there is one."""
    SAMPLED = "sampled"
    """Drawn from the rest by a keyed hash."""


@dataclass(frozen=True, slots=True)
class BrowsedReading:
    """One explanation of one activation, in one lane."""

    lane: str
    draw: int
    outcome: Outcome
    """Under the primary headline."""
    headlines: tuple[Headline, ...]
    """The headlines under which it counts as aware."""
    labels: tuple[str, ...]
    score: float | None
    explanation: str
    evidence: tuple[Evidence, ...]
    reason: str
    """The judge's reason; empty where it gives none."""
    cos: float | None
    """AR cosine with its own activation."""
    ar_percentile: float | None
    """Share in per cent of the lane's scored readings with a lower cosine (ties count half)."""
    donor: str
    """Transcript and position of the donor; empty in other lanes."""


@dataclass(frozen=True, slots=True)
class BrowsedPosition:
    """One read token, with all its draws and lanes."""

    position: int
    """Token index in the replay."""
    token: str
    context: str
    channel: str
    turn: int
    message: int
    part: int | None
    """Index of the message's part that holds the token; None if it could not be placed."""
    start: int
    end: int
    """Span of the token in that part's text; 0, 0 if it could not be placed."""
    outcome: Outcome
    """Of the measured lane under the primary headline: AWARE if any draw is."""
    readings: tuple[BrowsedReading, ...]
    """The measured lane first, then the controls; draws in order."""


@dataclass(frozen=True, slots=True)
class BrowsedPart:
    """A part of a message: thinking, visible text, a tool call."""

    kind: str
    text: str
    outcome: Outcome | None = None
    """Of the judge under the primary headline; None if it is no assistant's part or was not judged."""
    labels: tuple[str, ...] = ()
    said: tuple[Evidence, ...] = ()
    """Spans that say so, under the broad headline."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BrowsedMessage:
    """One message. The index is its place in the transcript: messages may be left out."""

    index: int
    role: str
    author: str
    """Who wrote an assistant turn; empty for other roles."""
    note: str
    """The tool's name of a tool result, or how a turn ended early."""
    parts: tuple[BrowsedPart, ...]


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """The sample of an Inspect log that a transcript was read in."""

    log: str
    """Path of the log below the folder that was given, or its file name."""
    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class BrowsedTranscript:
    """One transcript."""

    id: str
    digest: str
    suite: str
    arm: str
    family: str
    variant: str
    result: str
    """The outcome that its suite records, e.g. "declined"; empty without one."""
    tokens: int
    measured: bool | None
    """N under the primary headline; None if undecided."""
    said: bool | None
    """V under the primary headline; None if undecided or if the target wrote no turn."""
    why: Why
    planned: int
    judged: int
    """Judged positions of the measured lane."""
    aware: int
    """Aware positions of the measured lane, under the primary headline."""
    positions: tuple[BrowsedPosition, ...]
    messages: tuple[BrowsedMessage, ...]
    """Empty if the inputs do not hold the conversation."""
    sample: LoggedSample | None = None
    """None if no log among the inputs holds it."""


@dataclass(frozen=True, slots=True)
class Browse:
    """The transcripts in a report, and the rule by which they were chosen."""

    headline: Headline
    transcripts: tuple[BrowsedTranscript, ...]
    total: int
    """Transcripts of the tally."""
    flagged: int
    """Flagged transcripts of the tally."""
    limit: int
    seed: int
    every_reading: bool
    """Whether all readings of these transcripts are here. If not: all flagged positions and `dozen` others of each."""
    dozen: int
    counts: dict[Why, int] = field(default_factory=dict)
    """Transcripts here, by why they are."""
    viewer: str = ""
    """Address of the `inspect view` that transcripts of logs link to; empty for no links."""
