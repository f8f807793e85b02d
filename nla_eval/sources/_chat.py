"""One record of a chat data set, whatever its container, to what a transcript is made of.

Keys are found by their usual names or by the options; the same function serves JSON, Parquet and the hub. An answer,
its thinking and a system prompt that stand beside the messages go where they belong; other texts are noted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._base import Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, default_id, lookup, transcripts
from ._beside import ANSWERS, with_answer, with_history, with_system
from ._calls import tool_infos
from ._families import family_of
from ._keys import FACTS, IDS, MESSAGES, META, OTHERS, PROMPTS, TASK
from ._messages import chat_messages
from ._notes import BOOKKEEPING
from ._plain_chats import PlainChats
from ._stops import stopped


def chats(records: Iterable[Record | Skipped], options: SourceOptions, source: str) -> Iterator[Item]:
    """Records to transcripts; one that cannot be used is a row with its place and reason."""
    plain = PlainChats(options, source)
    return transcripts(
        records, lambda r: chat_fields(r.value, default_id(r), options), options, source, shortcut=plain.transcript
    )


def has_chat(record: Mapping[str, Any]) -> bool:
    """Whether a record holds messages, or a prompt, under a usual name."""
    named = any(isinstance(record.get(key), list | str) for key in (*MESSAGES, "prompt"))
    return named or _has_prompt(record) or bool(chat_columns(record))


def chat_columns(record: Mapping[str, Any]) -> list[str]:
    """Keys under which a record holds a list of {role, ...} or {from, ...}."""
    found = []
    for key, value in record.items():
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(first, Mapping) and ("role" in first or "from" in first):
            found.append(str(key))
    return found


def chat_fields(record: Any, own_id: str, options: SourceOptions) -> Fields:
    """What a transcript is made of.

    Args:
        record: The decoded record.
        own_id: Its id where it has none.
        options: Of the source.

    Raises:
        RecordError: no object, or its messages cannot be used.
    """
    if not isinstance(record, Mapping):
        raise RecordError("not a JSON object")
    read: set[str] = {*OTHERS[:-1]}
    id_key = options.id_key or _first_key(record, IDS)
    given = lookup(record, id_key) if id_key else None
    transcript_id = own_id if given is None or given == "" else as_text(given)
    outcome_key = options.outcome_key or "outcome"
    outcome = lookup(record, outcome_key)
    family = family_of(record, transcript_id, options.family_key)
    variant, model = record.get("variant"), record.get("model")
    messages = _raw_messages(record, options, read)
    read |= {*IDS, id_key or "", outcome_key, family.key}
    fields = Fields(
        id=transcript_id,
        messages=chat_messages(messages, transcript_id, options.roles, options.notes),
        family=family.name,
        family_from=family.rule,
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        variant=None if variant is None else as_text(variant),
        tools=tool_infos(record.get("tools")),
        metadata=_metadata(record, read),
        turn_facts=stopped(messages, options.roles, record),
    )
    _note_unread(record, frozenset(read), options)
    return fields


def _note_unread(record: Mapping[str, Any], read: frozenset[str], options: SourceOptions, below: str = "") -> None:
    """Tell the notes what stands under other keys than those in `read`, which may be dotted."""
    for key, value in record.items():
        if key in read or (not below and key in BOOKKEEPING):
            continue
        deeper = frozenset(name.removeprefix(f"{key}.") for name in read if name.startswith(f"{key}."))
        if deeper and isinstance(value, Mapping):
            _note_unread(value, deeper, options, f"{below}{key}.")
        elif not deeper:
            options.notes.hold(f"{below}{key}", value)


def _raw_messages(record: Mapping[str, Any], options: SourceOptions, read: set[str]) -> Any:
    """The messages of a record as they are written, with what stands beside them; `read` grows by the keys used."""
    key = options.messages_key or _messages_key(record)
    raw = _named(record, key) if options.messages_key else _at(record, key, read)
    read.add(key)
    if not isinstance(raw, list):
        return raw
    if key in PROMPTS or key == TASK:
        raw = with_history(record, raw, read)
    # Where the target is to answer, an answer beside whole messages is somebody else's, often the reference.
    if key in PROMPTS or key == TASK or not options.prompts:
        raw = with_answer(record, raw, read, options.notes, ANSWERS if not options.prompts else ANSWERS[:2])
    return with_system(record, raw, read)


def _messages_key(record: Mapping[str, Any]) -> str:
    """Where a record holds its messages, or its prompt, by the usual names. Raises RecordError."""
    for key in MESSAGES:
        if record.get(key) is not None:
            return key
    if record.get("prompt") is not None:
        return "prompt"
    if _has_prompt(record):
        return TASK if isinstance(record.get(TASK), str) else "input"
    columns = [key for key in chat_columns(record) if key not in ANSWERS]
    if len(columns) > 1:
        raise RecordError(f"several lists of messages: {', '.join(columns)}; name one: --messages-key {columns[0]}")
    if columns:
        return columns[0]
    keys = ", ".join(map(str, list(record)[:8])) or "none"
    raise RecordError(
        f"'messages' is not a list: nothing of that kind among its keys ({keys}; name one with --messages-key)"
    )


def _has_prompt(record: Mapping[str, Any]) -> bool:
    """Whether there is a prompt, with an answer, under names that other data uses for other things too."""
    if isinstance(record.get("input"), list) and "input" in chat_columns(record):
        return True
    answered = any(isinstance(record.get(key), str | list | Mapping) for key in ANSWERS)
    return answered and any(isinstance(record.get(key), str) for key in ("input", TASK))


def _named(record: Mapping[str, Any], key: str) -> Any:
    """What stands at a key; mere text is a prompt."""
    raw = _parsed(lookup(record, key))
    if raw is None:
        raise RecordError(f"nothing at '{key}' (messages_key)")
    return [{"role": "user", "content": raw}] if isinstance(raw, str) else raw


def _at(record: Mapping[str, Any], key: str, read: set[str]) -> Any:
    raw = _parsed(record[key])
    if key == TASK and isinstance(record.get("input"), str):
        read.add("input")
        raw = f"{raw}\n\n{record['input']}".strip()
    prompt = key in PROMPTS or key == TASK
    return [{"role": "user", "content": raw}] if prompt and not isinstance(raw, list) else raw


def _parsed(raw: Any) -> Any:
    """Messages that a table holds as the JSON text of a list."""
    if isinstance(raw, str) and raw.lstrip()[:1] == "[":
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            return raw
        return found if all(isinstance(message, Mapping) for message in found) else raw
    return raw


def _first_key(record: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    return next((key for key in keys if record.get(key) is not None), None)


def _metadata(record: Mapping[str, Any], read: set[str]) -> dict[str, Any]:
    key = next((key for key in META if key in record), META[0])
    meta = record.get(key)
    facts = {key: record[key] for key in FACTS if isinstance(record.get(key), str)}
    read.update({*facts, key} if isinstance(meta, Mapping) else facts)
    return {**facts, **meta} if isinstance(meta, Mapping) else facts
