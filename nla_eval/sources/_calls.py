"""Tool calls and tool definitions, as providers and data sets write them, to Inspect's.

In: what stands under "tool_calls", a "tool_use" part, a ShareGPT turn that is a call; definitions. Arguments that are
no JSON object are kept as {"input": ...} with a parse error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inspect_ai.tool import ToolCall, ToolInfo, ToolParams
from pydantic import ValidationError

from ._base import RecordError, as_text

_ARGUMENTS = ("arguments", "args", "input", "parameters")
"""Where a call without a "function" around it holds its arguments."""


def tool_calls(record: Mapping[str, Any], index: int) -> list[ToolCall]:
    """The calls that stand beside the content of an assistant's message.

    Args:
        record: The message.
        index: Of the message, for ids and reasons.

    Raises:
        RecordError: not a list of calls.
    """
    raw = record.get("tool_calls")
    raw = [] if raw is None else _of_text(raw)
    single = record.get("function_call")
    if isinstance(single, Mapping) and isinstance(raw, list):
        raw = [*raw, {"function": single}]
    if not isinstance(raw, list):
        raise RecordError(f"message {index}: 'tool_calls' is not a list")
    return [_tool_call(call, index, number) for number, call in enumerate(raw)]


def calls_of_turn(raw: Any) -> list[Any]:
    """ShareGPT writes a turn that is a call as the JSON text of {name, arguments}, or of a list of such.

    Raises:
        RecordError: anything else.
    """
    try:
        found = json.loads(raw) if isinstance(raw, str) else raw
    except (ValueError, RecursionError):
        found = None
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, Mapping) for call in calls):
        raise RecordError("a 'function_call' turn is not the JSON of a call")
    return [call if "function" in call else {"function": call} for call in calls]


def tool_use(part: Mapping[str, Any], index: int) -> ToolCall:
    """A call that is a part of the content. Raises RecordError."""
    if not isinstance(part.get("name"), str):
        raise RecordError(f"message {index}: a tool use names no tool")
    arguments, error = _arguments(part["input"])
    return ToolCall(
        id=str(part.get("id") or f"call_{index}"), function=part["name"], arguments=arguments, parse_error=error
    )


def tool_infos(raw: Any) -> tuple[ToolInfo, ...]:
    """Tool definitions in the shape of OpenAI, Anthropic or Inspect, or the JSON text of such. Tools that a provider
    runs itself, which have a type and no name, have no definition. Raises RecordError."""
    try:
        if isinstance(raw, str):
            raw = json.loads(raw)
        functions = [tool.get("function", tool.get("custom", tool)) for tool in raw or ()]
        return tuple(
            ToolInfo(
                name=f["name"],
                description=f.get("description") or "",
                parameters=ToolParams.model_validate(f.get("parameters") or f.get("input_schema") or {}),
            )
            for f in functions
            if "name" in f or not isinstance(f.get("type"), str) or f["type"] == "function"
        )
    except (ValidationError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"'tools' is not a list of function definitions ({type(error).__name__})") from None


def _of_text(raw: Any) -> Any:
    """A list that a table holds as its JSON text."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw) if raw.strip() else []
    except (ValueError, RecursionError):
        return raw


def _tool_call(call: Any, index: int, number: int) -> ToolCall:
    """OpenAI's {id, function: {name, arguments}} and {id, custom: {name, input}}, Inspect's {id, function, arguments},
    or a call without anything around it: {id, name, arguments}."""
    function = call.get("function", call.get("custom")) if isinstance(call, Mapping) else None
    if isinstance(function, str):
        function = {"name": function, "arguments": call.get("arguments")}
    elif function is None and isinstance(call, Mapping) and isinstance(call.get("name"), str):
        function = call
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RecordError(f"message {index}: tool call {number} names no function")
    if call.get("type") == "custom":
        given: Any = {"input": as_text(function.get("input", ""))}
    else:
        given = next((function[key] for key in _ARGUMENTS if function.get(key) is not None), None)
    arguments, error = _arguments(given)
    call_id = str(call.get("id") or f"call_{index}_{number}")
    return ToolCall(id=call_id, function=function["name"], arguments=arguments, parse_error=error)


def _arguments(raw: Any) -> tuple[dict[str, Any], str | None]:
    """Arguments as a mapping; what is no JSON object is kept as {"input": ...} with a parse error."""
    if raw is None or raw == "":
        return {}, None
    value = raw
    if isinstance(raw, str):
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            return {"input": raw}, "arguments are not JSON"
    if isinstance(value, dict):
        return value, None
    return {"input": value}, "arguments are not a JSON object"
