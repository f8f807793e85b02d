"""Transcripts from a Scout database: a folder of Parquet files, one row a transcript, `messages` the JSON of Inspect's
`ChatMessage`s (docs of inspect_scout, "Transcript database"). Scout itself is not needed.

Tool definitions are those of the last model event, where the row keeps events and a message calls a tool. Who wrote a
turn is what its message says: the model where its source is "generate"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant
from inspect_ai.tool import ToolInfo
from pydantic import TypeAdapter, ValidationError

from ._base import Fields, Item, RecordError, SourceOptions, as_text, lookup, transcripts
from ._inspect_authors import turn_facts
from ._messages import tool_infos
from ._probe import Container, Probe
from ._source import SOURCES, Source

if TYPE_CHECKING:
    import pyarrow

_COLUMNS = ("transcript_id", "messages", "model", "task_set", "task_id", "task_repeat", "agent", "error", "events")
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

    yield from transcripts(parquet_rows(path, wanted), lambda row: _fields(row.value, options), options, path.name)


def _fields(row: Mapping[str, Any], options: SourceOptions) -> Fields:
    transcript_id = as_text(row.get("transcript_id"))
    try:
        messages = _MESSAGES.validate_json(row.get("messages") or "[]")
    except ValidationError as error:
        raise RecordError(f"'messages' is not the JSON of Inspect's messages ({error.error_count()} errors)") from None
    opened = {key: _opened(value) for key, value in row.items() if key != "messages" and key != "events"}
    family = lookup(opened, options.family_key or "task_id")
    task_set = None if options.family_key else row.get("task_set")
    outcome = lookup(opened, options.outcome_key) if options.outcome_key else None
    facts = ("task_set", "task_id", "task_repeat", "agent", "error")
    return Fields(
        id=transcript_id,
        messages=messages,
        family=transcript_id if family is None else "/".join(as_text(v) for v in (task_set, family) if v is not None),
        family_from="the record itself" if family is None else f"'{options.family_key or 'task_id'}' of the row",
        model=None if row.get("model") is None else as_text(row["model"]),
        outcome=None if outcome is None else as_text(outcome),
        tools=_tools(messages, row.get("events")),
        metadata={key: row.get(key) for key in facts},
        turn_facts=turn_facts(messages, ()),
    )


def _tools(messages: list[ChatMessage], events: Any) -> tuple[ToolInfo, ...]:
    if not isinstance(events, str) or not any(isinstance(m, ChatMessageAssistant) and m.tool_calls for m in messages):
        return ()
    try:
        found = json.loads(events)
    except (ValueError, RecursionError):
        raise RecordError("'events' is not JSON") from None
    calls = [event for event in found if isinstance(event, dict) and event.get("event") == "model"]
    return tool_infos(calls[-1].get("tools")) if calls else ()


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
