"""One record of a chat data set, whatever its container, to what a transcript is made of.

Keys are found by their usual names or by the options; the same function serves JSON, Parquet and the hub."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._base import Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, lookup, transcripts
from ._messages import chat_messages, tool_infos

MESSAGES = ("messages", "conversation", "conversations", "chat", "dialog", "dialogue", "turns")
"""Where the messages of a record are looked for, in this order, unless `messages_key` says."""
IDS = ("id", "conversation_id", "conversation_hash", "transcript_id", "uuid")
"""Where its id is looked for, unless `id_key` says. `conversation_hash` is WildChat's."""
ANSWERS = ("completion", "response")
FACTS = ("language", "dataset", "setting")
"""Kept as metadata where a record has them, beside its "meta" or "metadata"."""


def chats(records: Iterable[Record | Skipped], options: SourceOptions, source: str) -> Iterator[Item]:
    """Records to transcripts; one that cannot be used is a row with its place and reason."""
    return transcripts(records, lambda r: chat_fields(r.value, f"line-{r.number}", options), options, source)


def has_chat(record: Mapping[str, Any]) -> bool:
    """Whether a record holds messages, or a prompt, under a usual name."""
    return any(isinstance(record.get(key), list | str) for key in (*MESSAGES, "prompt")) or bool(chat_columns(record))


def chat_columns(record: Mapping[str, Any]) -> list[str]:
    """Keys under which a record holds a list of {role, ...} or {from, ...}."""
    found = []
    for key, value in record.items():
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(first, Mapping) and ("role" in first or "from" in first):
            found.append(str(key))
    return found


def chat_fields(record: Any, default_id: str, options: SourceOptions) -> Fields:
    """What a transcript is made of.

    Args:
        record: The decoded record.
        default_id: Its id where it has none.
        options: Of the source.

    Raises:
        RecordError: no object, or its messages cannot be used.
    """
    if not isinstance(record, Mapping):
        raise RecordError("not a JSON object")
    given = lookup(record, options.id_key) if options.id_key else _first(record, IDS)
    transcript_id = default_id if given is None or given == "" else as_text(given)
    family = lookup(record, options.family_key or "family")
    outcome = lookup(record, options.outcome_key or "outcome")
    variant, model = record.get("variant"), record.get("model")
    return Fields(
        id=transcript_id,
        messages=chat_messages(_raw_messages(record, options), transcript_id, options.roles),
        family=transcript_id if family is None else as_text(family),
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        variant=None if variant is None else as_text(variant),
        tools=tool_infos(record.get("tools")),
        metadata=_metadata(record),
    )


def _raw_messages(record: Mapping[str, Any], options: SourceOptions) -> Any:
    raw = _found(record) if options.messages_key is None else _named(record, options.messages_key)
    system = record.get("system")
    if isinstance(raw, list) and isinstance(system, str | list) and system and not _opens_with_system(raw):
        return [{"role": "system", "content": system}, *raw]
    return raw


def _named(record: Mapping[str, Any], key: str) -> Any:
    """What stands at a key; mere text is a prompt."""
    raw = _parsed(lookup(record, key))
    if raw is None:
        raise RecordError(f"nothing at '{key}' (messages_key)")
    return [{"role": "user", "content": raw}] if isinstance(raw, str) else raw


def _found(record: Mapping[str, Any]) -> Any:
    raw = _parsed(_first(record, MESSAGES))
    if raw is not None:
        return raw
    if record.get("prompt") is not None:
        return _prompt_and_answer(record)
    columns = chat_columns(record)
    if len(columns) > 1:
        raise RecordError(f"several lists of messages: {', '.join(columns)}; name one (messages_key)")
    if columns:
        return record[columns[0]]
    keys = ", ".join(map(str, list(record)[:8])) or "none"
    raise RecordError(f"'messages' is not a list: nothing of that kind among its keys ({keys}; messages_key names one)")


def _prompt_and_answer(record: Mapping[str, Any]) -> Any:
    prompt, answer = record["prompt"], _first(record, ANSWERS)
    messages = list(prompt) if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    if answer is None:
        return messages
    return [*messages, *(answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}])]


def _opens_with_system(messages: list[Any]) -> bool:
    first = messages[0] if messages else None
    return isinstance(first, Mapping) and "system" in (first.get("role"), first.get("from"))


def _parsed(raw: Any) -> Any:
    """Messages that a table holds as the JSON text of a list."""
    if isinstance(raw, str) and raw.lstrip()[:1] == "[":
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            return raw
        return found if all(isinstance(message, Mapping) for message in found) else raw
    return raw


def _first(record: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    meta = record.get("meta", record.get("metadata"))
    facts = {key: record[key] for key in FACTS if isinstance(record.get(key), str)}
    return {**facts, **meta} if isinstance(meta, Mapping) else facts
