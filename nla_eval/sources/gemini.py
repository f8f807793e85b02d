"""Transcripts from requests of the Gemini API, alone or with their responses: {contents, systemInstruction?, tools?}
with {candidates} beside them, {request, response}, tuning data, or a checkpoint of Gemini CLI ({history})."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ._base import Fields, Item, RecordError, SourceOptions, as_text, transcripts
from ._calls import tool_infos
from ._gemini import add_contents
from ._json import json_records
from ._probe import Container, Probe
from ._requests import request_fields
from ._source import SOURCES, Source
from ._turns import Turns, stop_of

_CONTENTS = ("contents", "history")
_SYSTEMS = ("systemInstruction", "system_instruction")
_IDS = ("id", "key", "custom_id", "responseId", "response_id")
_ENDS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 7: "BLOCKLIST", 8: "PROHIBITED_CONTENT", 9: "SPII"}
"""Numbers of reasons, as Python's older client dumps them."""
_OF_CANDIDATE = (
    *("content", "finishReason", "finish_reason", "index", "safetyRatings", "safety_ratings", "tokenCount"),
    *("token_count", "avgLogprobs", "avg_logprobs", "logprobsResult", "logprobs_result"),
)
_READ = (
    *(*_CONTENTS, *_SYSTEMS, *_IDS, "tools", "candidates", "request", "response", "model", "modelVersion"),
    *("generationConfig", "safetySettings", "authType", "usageMetadata", "family", "outcome", "createTime"),
)


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    yield from transcripts(
        json_records(path, options), lambda r: _fields(r.value, f"line-{r.number}", options), options, path.name
    )


def _fields(record: Any, default_id: str, options: SourceOptions) -> Fields:
    if not isinstance(record, Mapping):
        raise RecordError("not a JSON object")
    request, response = _halves(record)
    contents = next((request[key] for key in _CONTENTS if isinstance(request.get(key), list | str)), None)
    if isinstance(contents, str):
        contents = [{"role": "user", "parts": [{"text": contents}]}]
    if contents is None:
        raise RecordError("neither 'contents' nor 'history' is a list")
    turns = Turns()
    system = next((request[key] for key in _SYSTEMS if request.get(key)), None)
    if system is not None:
        turns.add("system", _parts(system))
    add_contents(turns, contents)
    candidates = response.get("candidates")
    answers = [held for held in candidates if isinstance(held, Mapping)] if isinstance(candidates, list) else []
    for answer in answers[:1]:
        content = answer.get("content")  # missing where a filter left nothing of the answer
        add_contents(turns, [{"parts": [], **(content if isinstance(content, Mapping) else {}), "role": "model"}])
        stop = answer.get("finishReason", answer.get("finish_reason"))
        turns.ended(stop_of(_ENDS.get(stop, "unknown") if isinstance(stop, int) else stop))
        options.notes.left(answer, _OF_CANDIDATE, "candidates[].")
    options.notes.count("further candidates of a response", max(0, len(answers) - 1))
    options.notes.left(record, _READ)
    for name, half in (("request", request), ("response", response)):
        if half is not record:
            options.notes.left(half, _READ, f"{name}.")
    model = response.get("modelVersion", request.get("model"))
    return replace(
        request_fields(record, turns, _IDS, default_id, options),
        model=None if model is None else as_text(model),
        tools=tool_infos(_functions(request.get("tools"))),
    )


def _halves(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    request, response = record.get("request"), record.get("response")
    return (
        request if isinstance(request, Mapping) else record,
        response if isinstance(response, Mapping) else record,
    )


def _parts(content: Any) -> Any:
    """The text of a system instruction, or its parts."""
    parts = content.get("parts") if isinstance(content, Mapping) else content
    return [parts] if isinstance(parts, Mapping) else parts


def _functions(tools: Any) -> Any:
    """Function declarations; tools that the API runs itself have none."""
    found: list[Any] = []
    for tool in tools if isinstance(tools, list) else []:
        declared = (
            tool.get("functionDeclarations", tool.get("function_declarations")) if isinstance(tool, Mapping) else []
        )
        found += declared if isinstance(declared, list) else []
    return [_lower(function) for function in found if isinstance(function, Mapping)] or None


def _lower(schema: Any) -> Any:
    """A schema with the names of its types in lower case, as JSON schemas have them."""
    if isinstance(schema, Mapping):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
            for key, value in schema.items()
        }
    return [_lower(held) for held in schema] if isinstance(schema, list) else schema


def _has_contents(record: Mapping[str, Any]) -> bool:
    request = _halves(record)[0]
    found: list[Any] = next((request[key] for key in _CONTENTS if isinstance(request.get(key), list)), [])
    # Python's client takes texts among the contents.
    return any(isinstance(held, Mapping) and "parts" in held for held in found[:2])


def _fits(probe: Probe) -> bool:
    containers = (Container.LINES, Container.LIST, Container.OBJECT)
    return probe.container in containers and any(map(_has_contents, probe.records))


read = SOURCES.register("gemini")(
    Source("gemini", "requests and responses of the Gemini API, or a checkpoint of Gemini CLI", _read, _fits)
)
