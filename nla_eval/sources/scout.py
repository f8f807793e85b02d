"""Transcripts from a Scout database: a folder of Parquet files, one row a transcript, `messages` the JSON of Inspect's
`ChatMessage`s (docs of inspect_scout, "Transcript database"). Scout itself is not needed.

Where a row keeps its events, it is read as the sample of an Inspect log is: authors, stop reasons, tools, roles and
stretches between compactions come from the model calls. Else the author of a turn is what its message's `source` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai.log import EvalSample, resolve_sample_events_data
from inspect_ai.model import ChatMessage, ChatMessageAssistant
from inspect_ai.tool import ToolInfo
from pydantic import TypeAdapter, ValidationError

from ._base import (
    Fields,
    Item,
    Record,
    RecordError,
    Samples,
    Skipped,
    SourceOptions,
    as_text,
    lookup,
    make_transcript,
)
from ._calls import tool_infos
from ._inspect_authors import MAIN, turn_facts
from ._inspect_calls import Conversation, Conversations, conversations, quoted
from ._probe import Container, Probe
from ._source import SOURCES, Source

if TYPE_CHECKING:
    import pyarrow

_CONVERSATION = ("messages", "events", "events_data")
_COLUMNS = (
    *("transcript_id", "model", "model_roles", "task_set", "task_id", "task_repeat", "agent", "error", "limit"),
    *_CONVERSATION,
)
_ABOUT = {"source_type", "source_id", "source_uri", "date", "filename"}
"""Columns that hold no words of a transcript."""
_MESSAGES: TypeAdapter[list[ChatMessage]] = TypeAdapter(list[ChatMessage])


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    from ._tables import holds_text, parquet_rows, rows_of

    keys = {key.split(".")[0] for key in (options.family_key, options.outcome_key) if key}

    def wanted(schema: pyarrow.Schema) -> list[str]:
        for field in schema:
            if field.name not in _COLUMNS and field.name not in keys | _ABOUT and holds_text(field.type):
                options.notes.add(f"{field.name} (column)", rows_of(path))
        return [name for name in schema.names if name in _COLUMNS or name in keys]

    for record in parquet_rows(path, wanted):
        yield from [record] if isinstance(record, Skipped) else _of_row(record, options, path.name)


def _of_row(record: Record, options: SourceOptions, source: str) -> Iterator[Item]:
    """The transcript of a row, or one for each stretch of it; one that cannot be used is a row with its reason."""
    row = record.value
    if options.samples is Samples.COMPLETE and (error := row.get("error")):
        yield Skipped(record.where, f"it ended in an error: '{quoted(as_text(error))}'; --samples all reads it")
        return
    try:
        messages = _MESSAGES.validate_json(row.get("messages") or "[]")
        found = _conversations(row, messages, options)
        for number, conversation in enumerate(found.stretches, start=1):
            yield make_transcript(found.numbered(_fields(row, conversation, options), number), options, source)
    except ValidationError as error:
        reason = f"'messages' is not the JSON of Inspect's messages ({error.error_count()} errors)"
        yield Skipped(record.where, reason)
    except RecordError as error:
        yield Skipped(record.where, str(error))
    except RecursionError:
        yield Skipped(record.where, "nested too deeply")


def _conversations(row: Mapping[str, Any], messages: list[ChatMessage], options: SourceOptions) -> Conversations:
    """What is read of a row. Raises RecordError."""
    events = _json(row, "events")
    if events:
        try:
            pool = _json(row, "events_data")
            sample = EvalSample(id="", epoch=1, input="", target="", messages=messages, events=events, events_data=pool)
            sample = resolve_sample_events_data(sample)
        except Exception:  # whatever one damaged event raises inside Inspect, the messages are still read
            options.notes.count("transcripts with events that are not Inspect's: authors come from their messages")
        else:
            header = {"model": row.get("model"), "model_roles": _opened(row.get("model_roles"))}
            return conversations(sample, header, options)
    plain = Conversation(messages, tools=_tools(messages, events), turn_facts=turn_facts(messages, ()))
    return Conversations([plain], MAIN, {})


def _tools(messages: list[ChatMessage], events: Any) -> tuple[ToolInfo, ...]:
    """The tools of the last model call, if the conversation calls any."""
    if not isinstance(events, list) or not any(isinstance(m, ChatMessageAssistant) and m.tool_calls for m in messages):
        return ()
    calls = [event for event in events if isinstance(event, dict) and event.get("event") == "model"]
    return tool_infos(calls[-1].get("tools")) if calls else ()


def _fields(row: Mapping[str, Any], conversation: Conversation, options: SourceOptions) -> Fields:
    transcript_id = as_text(row.get("transcript_id"))
    opened = {key: _opened(value) for key, value in row.items() if key not in _CONVERSATION}
    family = lookup(opened, options.family_key or "task_id")
    task_set = None if options.family_key else row.get("task_set")
    outcome = lookup(opened, options.outcome_key) if options.outcome_key else None
    facts = ("task_set", "task_id", "task_repeat", "agent", "error", "limit")
    model = conversation.model or row.get("model")
    return Fields(
        id=transcript_id,
        messages=conversation.messages,
        family=transcript_id if family is None else "/".join(as_text(v) for v in (task_set, family) if v is not None),
        family_from="the record itself" if family is None else f"'{options.family_key or 'task_id'}' of the row",
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        tools=conversation.tools,
        metadata={key: row.get(key) or None for key in facts},
        turn_facts=conversation.turn_facts,
    )


def _json(row: Mapping[str, Any], column: str) -> Any:
    """What a column of JSON text holds. Raises RecordError."""
    text = row.get(column)
    try:
        return json.loads(text) if isinstance(text, str) and text.strip() else None
    except (ValueError, RecursionError):
        raise RecordError(f"'{column}' is not JSON") from None


def _opened(value: Any) -> Any:
    """Columns of metadata are the JSON text of objects."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _fits(probe: Probe) -> bool:
    return probe.container is Container.PARQUET and {"transcript_id", "messages", "source_type"} <= probe.columns


read = SOURCES.register("scout")(
    Source("scout", "a Scout transcript database: its folder or one of its Parquet files", _read, _fits)
)
