"""Conversations as bare messages, without a record around them: a JSON list of messages, a list of such lists, one list
a line, or one message a line. Lines that name their conversation are one transcript for each, else the file is one.

mini-swe-agent writes such lists, with more about each message under "extra"; how a run ended is its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ._base import Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._json import GZIP_DAMAGE, JsonDamageError, JsonText, OversizeError, json_records, json_text, opened
from ._messages import chat_messages
from ._probe import Container, Probe, probe
from ._shapes import is_message
from ._source import SOURCES, Source
from ._stops import stopped

_SUFFIXES = (".gz", ".jsonl", ".json", ".ndjson", ".traj", ".chat")
_CONVERSATION = ("conversation_id", "session_id", "thread_id", "chat_id", "conversationId", "sessionId", "chatId")
_BESIDE = (*_CONVERSATION, "extra")
_ROLES = {"exit": "user"}
"""mini-swe-agent's last message, to the model."""
_OUTCOME = "extra.exit_status"


@dataclass
class _Conversation:
    """Messages that are one conversation."""

    number: int
    """Counted from 1."""
    messages: list[Any] = field(default_factory=list)
    id: str | None = None


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    made = _lines(path, options) if probe(path).container is Container.LINES else _lists(path, options)
    waiting: _Conversation | None = None
    for item in made:
        if isinstance(item, Skipped):
            yield item
            continue
        if waiting is not None:
            yield _made(waiting, path, options, several=True)
        waiting = item
    if waiting is not None:
        yield _made(waiting, path, options, several=waiting.number > 1)


def _made(found: _Conversation, path: Path, options: SourceOptions, *, several: bool) -> Item:
    name = _stem(path.name)
    try:
        transcript_id = found.id or (f"{name}/{found.number}" if several else name)
        return make_transcript(_fields(found, transcript_id, options), options, path.name)
    except RecordError as error:
        return Skipped(f"{path.name} conversation {found.number}", str(error))


def _lines(path: Path, options: SourceOptions) -> Iterator[_Conversation | Skipped]:
    """One message a line: a conversation for each id that stands beside the messages, or one."""
    seen: set[str | None] = set()
    groups = groupby(json_records(path, options), key=lambda record: _conversation_id(record, options))
    for number, (named, group) in enumerate(groups, start=1):
        found = _Conversation(number, id=named)
        size = 0
        for record in group:
            if isinstance(record, Skipped):
                yield record
                continue
            size += len(as_text(record.value))
            if size <= options.max_record_bytes:
                found.messages.append(record.value)
        if size > options.max_record_bytes:
            yield Skipped(f"{path.name} conversation {number}", _too_large(options))
        elif named in seen:
            yield Skipped(
                f"{path.name} conversation {number}", f"messages of '{named}' stand apart; sort the lines by it"
            )
        elif found.messages:
            yield found
        seen.add(named)


def _conversation_id(record: Record | Skipped, options: SourceOptions) -> str | None:
    if isinstance(record, Skipped):
        return None
    keys = (options.id_key,) if options.id_key else _CONVERSATION
    return next((as_text(found) for key in keys if (found := lookup(record.value, key)) is not None), None)


def _lists(path: Path, options: SourceOptions) -> Iterator[_Conversation | Skipped]:
    """Lists of messages, one after the other or in one list around them."""
    number = 0
    try:
        with opened(path) as file, json_text(file, options.max_record_bytes) as values:
            while values.take("["):
                around = values.take("[")
                while True:
                    number += 1
                    yield _list(values, number, path.name, options)
                    values.take(",")
                    if not around or not values.take("["):
                        break
                if around and not values.take("]"):
                    yield Skipped(
                        path.name, "the file ends inside its list, or something else than a list stands in it"
                    )
                    return
            if not values.ended:
                yield Skipped(path.name, "what follows the list is not read")
    except JsonDamageError as damage:
        yield Skipped(f"{path.name} conversation {number}", f"{damage}; so the conversation is left out")
    except GZIP_DAMAGE as error:
        yield Skipped(path.name, f"damaged gzip, read up to the damage: {error}")


def _list(values: JsonText, number: int, name: str, options: SourceOptions) -> _Conversation | Skipped:
    """The messages up to the closing bracket. Raises JsonDamageError."""
    start, found, large = values.taken, _Conversation(number), False
    while not values.take("]"):
        if values.ended:
            raise JsonDamageError("the file ends inside its list")
        try:
            found.messages.append(values.value())
        except OversizeError:
            values.pass_over()
            large = True
        large = large or values.taken - start > options.max_record_bytes
        if large:
            found.messages.clear()
        values.take(",")
    return Skipped(f"{name} conversation {number}", _too_large(options)) if large else found


def _too_large(options: SourceOptions) -> str:
    return f"over {options.max_record_mb} MB; the limit is max_record_mb"


def _fields(found: _Conversation, transcript_id: str, options: SourceOptions) -> Fields:
    last = found.messages[-1] if found.messages else None
    outcome = lookup(last, options.outcome_key or _OUTCOME)
    family = lookup(found.messages[0], options.family_key) if options.family_key and found.messages else None
    roles = {**_ROLES, **options.roles}
    return Fields(
        id=transcript_id,
        messages=chat_messages(list(map(_said, found.messages)), transcript_id, roles, options.notes),
        family=transcript_id if family is None else as_text(family),
        outcome=None if outcome is None else as_text(outcome),
        turn_facts=stopped(found.messages, roles),
    )


def _said(message: Any) -> Any:
    """A message without what is none of its words: the name of its conversation, and of mini-swe-agent's "extra" the
    outcome and the response, which repeats the message."""
    if not isinstance(message, dict) or message.keys().isdisjoint(_BESIDE):
        return message
    said = {key: held for key, held in message.items() if key not in _CONVERSATION}
    if isinstance(said.get("extra"), dict):
        said["extra"] = {key: held for key, held in said["extra"].items() if key not in ("exit_status", "response")}
    return said


def _stem(name: str) -> str:
    """A file's name without the suffixes that say its format."""
    while (short := next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)) not in (name, ""):
        name = short
    return name


def _fits(probe: Probe) -> bool:
    if probe.container not in (Container.LINES, Container.LIST):
        return False
    if probe.lists and not probe.records:
        return all(map(is_message, probe.lists[0]))
    # Of several records the last may be cut off within what was looked at.
    return not probe.lists and bool(probe.records) and all(map(is_message, probe.records[:-1] or probe.records))


read = SOURCES.register("messages")(
    Source(
        "messages",
        "one conversation as a bare JSON list of messages, or one message a line",
        _read,
        _fits,
        generic=True,
    )
)
