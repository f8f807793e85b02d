"""What every source shares: its options, the row for a record it had to leave out, and the checks on what it yields.
It knows no file format. Options are the one vocabulary of all readers; each ignores what its format has no use for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from inspect_ai.model import ChatMessage, ContentReasoning

from ..cards.choices import Answers as Answers
from ..cards.choices import Branches as Branches
from ..cards.choices import Samples as Samples
from ..printable import one_line
from ..transcript import Arm, Provenance, Transcript, TurnFacts, thinking_text
from ._notes import SourceNotes
from ._plain import copied, is_plain, is_utf8
from ._thinking import thinking_apart

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class SourceOptions:
    """What a source cannot know from its file."""

    suite: str
    """Name of the suite the transcripts belong to."""
    arm: Arm
    licence: str = "unknown"
    """SPDX id or a short statement."""
    limit: int | None = None
    """Stop after this many transcripts; None for all."""
    family_key: str | None = None
    """Where a record holds its prompt family, dotted ("meta.task"). Default: "family", else each is its own."""
    outcome_key: str | None = None
    """Where a record holds what the model did, dotted; for Inspect logs the scorer's name."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Further role names and what they mean, such as {"tool_output": "user"}."""
    prompts: bool = False
    """Accept records without an assistant turn: the target is to write it."""
    model_role: str | None = None
    """Inspect logs: whose conversation to read. Default: role "target" where the log has it, else the main model;
    "main" asks for that one."""
    samples: Samples = Samples.COMPLETE
    """Inspect logs: leave out errored and invalidated samples, or read all."""
    source: str | None = None
    """Provenance to record instead of the file's name: a package with its version, a data set with its revision."""
    messages_key: str | None = None
    """Where a record holds its messages, dotted. Default: the first of the usual names."""
    id_key: str | None = None
    """Where a record holds its id, dotted. Default: the first of the usual names, else the place in the file."""
    branches: Branches = Branches.BEST
    """Trees: OpenAssistant, rewound sessions of Claude Code, rolled-back audits in Inspect logs."""
    answers: Answers = Answers.CHOSEN
    """Preference pairs: the chosen answer, the rejected one, or both."""
    max_record_mb: int = 32
    """A record of more than this many megabytes is left out: it would fill a context window many times over."""
    notes: SourceNotes = field(default_factory=SourceNotes, compare=False, repr=False)
    """What the readers count beside the transcripts: keys not read, branches left out, ... They fill while the items
    are taken. They add up over several readings with the same options, so take fresh options for each."""

    @property
    def max_record_bytes(self) -> int:
        """`max_record_mb` in bytes."""
        return self.max_record_mb * _MEGABYTE


@dataclass(frozen=True)
class Skipped:
    """A record that could not be used. The run goes on; the reader of a report sees how many and why."""

    where: str
    """File and line, sample or item."""
    reason: str
    foreign: bool = False
    """Whether it is a file that does not look like data of this reader, such as a README beside it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", one_line(self.where))
        object.__setattr__(self, "reason", one_line(self.reason))

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


Item = Transcript | Skipped


class RecordError(ValueError):
    """Why one record cannot become a transcript. Caught by its source and turned into `Skipped`."""


class Record(NamedTuple):
    """A decoded record and where it stood ("chats.jsonl line 7")."""

    where: str
    value: Any
    number: int
    """Counted from 1."""


@dataclass(frozen=True)
class Fields:
    """What a source read of one record."""

    id: str
    messages: list[ChatMessage]
    family: str
    """Prompt family, already resolved."""
    model: str | None = None
    outcome: str | None = None
    variant: str | None = None
    tools: tuple[Any, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    turn_facts: tuple[TurnFacts, ...] = ()
    family_from: str = "the record itself"
    """The rule that gave the family, for whoever reads the counts."""


def default_id(record: Record) -> str:
    """The id of a record that has none."""
    return f"line-{record.number}"


def transcripts(
    records: Iterable[Record | Skipped],
    fields_of: Callable[[Record], Fields],
    options: SourceOptions,
    source: str,
    shortcut: Callable[[Record], Transcript | None] = lambda record: None,
) -> Iterator[Item]:
    """The transcript of each record, lazily; one that cannot be used is a row with its place and reason.

    Args:
        records: Of a file or a stream.
        fields_of: What a transcript is made of. Raises RecordError.
        options: Of the source.
        source: Provenance, unless the options have another.
        shortcut: Makes the same transcript of a simple record at once; None where the record needs care.
    """
    for record in records:
        if isinstance(record, Skipped):
            yield record
            continue
        if (simple := shortcut(record)) is not None:
            yield simple
            continue
        try:
            yield make_transcript(fields_of(record), options, source)
        except RecordError as error:
            yield Skipped(record.where, str(error))
        except RecursionError:
            yield Skipped(record.where, "nested too deeply")


def make_transcript(fields: Fields, options: SourceOptions, source: str) -> Transcript:
    """The transcript of a record. Raises RecordError when there is nothing to replay or it is not valid Unicode."""
    if not fields.messages:
        raise RecordError("no messages")
    if not options.prompts and not any(m.role == "assistant" for m in fields.messages):
        raise RecordError("no assistant turn; if the target is to write it: nla-eval suite add --prompts")
    said = [thinking_apart(message) for message in fields.messages]
    options.notes.count("thinking parts that are encrypted and have no summary", sum(map(_hidden, said)))
    messages = [
        m.model_copy(update={"id": message_id(fields.id, index)}) if m.id is None else m for index, m in enumerate(said)
    ]
    made = constructed(
        options,
        source,
        fields.model,
        id=fields.id,
        messages=messages,
        family=fields.family,
        tools=list(fields.tools),
        outcome=fields.outcome,
        variant=fields.variant,
        metadata={str(key): as_text(value) for key, value in fields.metadata.items() if value is not None},
        turn_facts=fields.turn_facts,
    )
    if fields.turn_facts and len(fields.turn_facts) != sum(m.role == "assistant" for m in made.messages):
        raise RecordError(f"{len(fields.turn_facts)} facts for another number of assistant turns")
    _expect_storable(made, options)
    options.notes.family_by(fields.family_from)
    return made


def constructed(options: SourceOptions, source: str, model: str | None, **values: Any) -> Transcript:
    """A transcript of values that are typed and checked already: validation would try each message as each of the four
    kinds.

    Args:
        options: Of the source.
        source: Provenance, unless the options have another.
        model: Who wrote the assistant turns, if known.
        values: Of the other fields of a transcript, by name.
    """
    values["arm"], values["suite"] = options.arm, options.suite
    values["provenance"] = provenance(options, source, model)
    return copied(_BLANK, values)


def provenance(options: SourceOptions, source: str, model: str | None) -> Provenance:
    """Where transcripts of a source come from, and who wrote their assistant turns, if known."""
    return _provenance(options.source or source, options.licence, model)


_BLANK = Transcript.model_construct(
    None, id="", messages=[], arm=Arm.EVALUATION, suite="", family="", provenance=Provenance(source="")
)


@lru_cache(maxsize=64)
def _provenance(source: str, licence: str, model: str | None) -> Provenance:
    return Provenance(source=source, licence=licence, model=model)


def _hidden(message: ChatMessage) -> int:
    """Thinking parts of a message that nobody can read."""
    parts = [] if isinstance(message.content, str) else message.content
    return sum(isinstance(p, ContentReasoning) and p.redacted and not thinking_text(p).strip() for p in parts)


def _expect_storable(transcript: Transcript, options: SourceOptions) -> None:
    """Logs, stores and tokenizers take UTF-8 only: half of a surrogate pair anywhere in it is found here."""
    if _is_plain(transcript, options.max_record_bytes):
        return
    try:
        size = len(transcript.model_dump_json())
    except (ValueError, RecursionError) as error:
        lone = "surrogate" in str(error)
        reason = "not UTF-8, or half a character (a lone surrogate)" if lone else "nested too deeply to be stored"
        raise RecordError(reason) from None
    if size > options.max_record_bytes:
        raise RecordError(f"{size / _MEGABYTE:.0f} MB; the limit is {options.max_record_mb} MB (max_record_mb)")


def _is_plain(transcript: Transcript, limit: int) -> bool:
    """Whether it is plain messages and short facts, known to be storable without writing them out to see."""
    if transcript.tools or not all(map(is_plain, transcript.messages)):
        return False
    facts = (transcript.id, transcript.family, transcript.outcome, transcript.variant, transcript.provenance.model)
    texts = [text for text in (*facts, *transcript.metadata, *transcript.metadata.values()) if text is not None]
    characters = sum(map(len, texts)) + sum([len(m.content) for m in transcript.messages])
    return plain_size(characters, len(transcript.messages)) <= limit and all(map(is_utf8, texts))


def plain_size(characters: int, messages: int) -> int:
    """Bytes in JSON that plain messages and the texts beside them take at most.

    Args:
        characters: Of the messages and of the texts.
        messages: Their number.
    """
    # A character takes at most six bytes; what surrounds a message is well below a kilobyte.
    return 6 * characters + 1000 * messages


def message_id(transcript_id: str, index: int) -> str:
    """A message id that is the same on every import (Inspect's own are random)."""
    return hashed_id(f"{transcript_id}\n{index}".encode("utf-8", "surrogatepass"))


def hashed_id(place: bytes) -> str:
    """`message_id` of the transcript's id and the index, encoded already."""
    return sha256(place).hexdigest()[:22]


def lookup(record: Any, dotted: str) -> Any:
    """`record["a"][0]["b"]` for "a.0.b", or None when a step is missing."""
    for key in dotted.split("."):
        if record is None:
            return None
        if type(record) is dict or isinstance(record, Mapping):  # the abstract class takes ten times as long
            record = record.get(key)
        elif isinstance(record, list | tuple) and key.isdecimal() and int(key) < len(record):
            record = record[int(key)]
        else:
            return None
    return record


def as_text(value: Any) -> str:
    """Strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
