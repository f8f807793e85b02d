"""Transcripts from records of OpenAI's Responses API: a request's `input` and `instructions` beside the `output` items
of its response, in one object or as {request, response}. Lists of items below "messages" are read by other readers.

A response that ends incomplete says why: that is its turn's stop reason. What `previous_response_id` names is not in
the record; it is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ._base import Fields, Item, RecordError, SourceOptions, as_text, transcripts
from ._calls import tool_infos
from ._json import json_records
from ._probe import Container, Probe
from ._requests import request_fields
from ._responses import add_items, ended_by, is_item
from ._source import SOURCES, Source
from ._turns import Turns

_IDS = ("custom_id", "id")
_READ = (
    *("input", "output", "instructions", "tools", "model", "status", "incomplete_details", "request", "response"),
    *("id", "object", "custom_id", "body", "output_text", "family", "outcome", "usage", "metadata", "error"),
)
_SETTINGS = (
    *("reasoning", "text", "tool_choice", "truncation", "service_tier", "user", "safety_identifier", "include"),
    *("prompt_cache_key", "prompt_cache_retention", "previous_response_id", "billing", "url", "method"),
)
"""Of a request or a response; none holds words of the conversation."""


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    yield from transcripts(
        json_records(path, options), lambda r: _fields(r.value, f"line-{r.number}", options), options, path.name
    )


def _fields(record: Any, default_id: str, options: SourceOptions) -> Fields:
    if not isinstance(record, Mapping):
        raise RecordError("not a JSON object")
    request, response = _halves(record)
    turns = Turns()
    instructions = request.get("instructions", response.get("instructions"))
    if isinstance(instructions, str) and instructions:
        turns.add("system", instructions)
    elif isinstance(instructions, list):
        add_items(turns, instructions)
    given = request.get("input", response.get("input"))
    if isinstance(given, str):
        turns.add("user", given)
    elif isinstance(given, list):
        add_items(turns, given)
    turns.close()
    output = response.get("output")
    if not isinstance(output, list):
        raise RecordError("'output' is not a list of items")
    before = turns.begun
    add_items(turns, output)
    turns.ended(ended_by(response), since=before)
    options.notes.count("responses whose earlier turns are not in the record", bool(_previous(request, response)))
    options.notes.left(record, (*_READ, *_SETTINGS))
    for name, half in (("request", request), ("response", response)):
        if half is not record:
            options.notes.left(half, (*_READ, *_SETTINGS), f"{name}.")
    model = response.get("model", request.get("model"))
    return replace(
        request_fields(record, turns, _IDS, default_id, options),
        model=None if model is None else as_text(model),
        tools=tool_infos(_functions(request.get("tools", response.get("tools")))),
    )


def _halves(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What was asked and what came back; one object where they stand together. Batch files put each into a "body"."""
    response = record.get("response")
    if not isinstance(response, Mapping):
        return record, record
    request = record.get("request", record)
    bodies = [half.get("body", half) if isinstance(half, Mapping) else {} for half in (request, response)]
    return tuple(body if isinstance(body, Mapping) else {} for body in bodies)  # type: ignore[return-value]


def _previous(*halves: Mapping[str, Any]) -> Any:
    return next((half["previous_response_id"] for half in halves if half.get("previous_response_id")), None)


def _functions(tools: Any) -> Any:
    """Tools with a name: those that the provider runs itself have no definition."""
    return [tool for tool in tools if isinstance(tool, Mapping) and "name" in tool] if isinstance(tools, list) else None


def _is_exchange(record: Mapping[str, Any]) -> bool:
    output = _halves(record)[1].get("output")
    return isinstance(output, list) and bool(output) and all(map(is_item, output[:-1] or output))


def _fits(probe: Probe) -> bool:
    if probe.container not in (Container.LINES, Container.LIST, Container.OBJECT):
        return False
    return any(map(_is_exchange, probe.records))


read = SOURCES.register("responses")(
    Source("responses", "requests and responses of OpenAI's Responses API, in JSON", _read, _fits)
)
