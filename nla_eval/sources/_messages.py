"""Chat messages as others write them to Inspect's `ChatMessage`, keeping every message, its order and its text.

In: a list in the shape of OpenAI, Anthropic, ShareGPT or Inspect, or a mixture; shapes are told apart message by
message. Inspect's own converters are not used: the one for OpenAI moves the text after a tool result into the message
before it and drops a turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall, ToolCallError, ToolInfo, ToolParams
from pydantic import ValidationError

from ._base import RecordError, as_text, message_id
from ._parts import content_of
from ._plain import plain_message
from ._shapes import as_chat

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "call",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "observation": "tool",
}
"""Role names of OpenAI, Anthropic, Gemini and ShareGPT. "call" is an assistant's message that is one tool call."""

_ROLE_KEYS = ("role", "from", "speaker")
_CONTENT_KEYS = ("content", "value", "text", "parts")
_REASONING_KEYS = ("reasoning", "reasoning_content", "thinking")


def chat_messages(raw: Any, transcript_id: str, roles: Mapping[str, str]) -> list[ChatMessage]:
    """Messages in order, with ids that depend on the transcript's id and the message's place only.

    Args:
        raw: A list of {role, content, reasoning?, tool_calls?, tool_call_id?, name?}; content may be null or a list of
            parts. A user message of Anthropic's that holds tool results becomes one message for each result, then one
            for what else it says.
        transcript_id: Of the record.
        roles: Further role names, and which of the known ones they mean.

    Raises:
        RecordError: not such a list; an unknown role.
    """
    if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
        raise RecordError("'messages' is not a list")
    known = {**ROLES, **roles}
    messages: list[ChatMessage] = []
    called: dict[str, str] = {}
    for index, record in enumerate(as_chat(raw)):
        if not isinstance(record, Mapping):
            raise RecordError(f"message {index} is not an object")
        plain = plain_message(record, known, message_id(transcript_id, len(messages)))
        if plain is not None:
            messages.append(plain)
            continue
        for message in _messages(record, index, known, called):
            message.id = message_id(transcript_id, len(messages))
            messages.append(message)
    return messages


def tool_infos(raw: Any) -> tuple[ToolInfo, ...]:
    """Tool definitions in the shape of OpenAI, Anthropic or Inspect, or the JSON text of such. Raises RecordError."""
    try:
        if isinstance(raw, str):
            raw = json.loads(raw)
        functions = [tool.get("function", tool) for tool in raw or ()]
        return tuple(
            ToolInfo(
                name=f["name"],
                description=f.get("description") or "",
                parameters=ToolParams.model_validate(f.get("parameters") or f.get("input_schema") or {}),
            )
            for f in functions
        )
    except (ValidationError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"'tools' is not a list of function definitions ({type(error).__name__})") from None


def _messages(
    record: Mapping[str, Any], index: int, roles: Mapping[str, str], called: dict[str, str]
) -> Iterator[ChatMessage]:
    given = next((record[key] for key in _ROLE_KEYS if key in record), None)
    role = roles.get(given) if isinstance(given, str) else None
    raw = next((record[key] for key in _CONTENT_KEYS if record.get(key) is not None), None)
    if role == "system":
        yield ChatMessageSystem(content=content_of(raw, index), id="")
    elif role == "user":
        yield from _user(raw, index, called)
    elif role == "tool":
        yield _tool(record, raw, index, called)
    elif role == "assistant":
        yield _assistant(record, raw, index, called)
    elif role == "call":
        yield _assistant({"function_call": _parsed(raw)}, None, index, called)
    else:
        raise RecordError(f"message {index} has the unknown role '{given}'; known: {', '.join(sorted(roles))}")


def _user(raw: Any, index: int, called: dict[str, str]) -> Iterator[ChatMessage]:
    """Anthropic puts tool results into user messages, first; they are messages of their own here."""
    results = [part for part in raw if _is(part, "tool_result")] if isinstance(raw, list) else []
    for part in results:
        call_id = part.get("tool_use_id")
        content = content_of(part.get("content"), index)
        yield ChatMessageTool(
            content=content,
            tool_call_id=None if call_id is None else str(call_id),
            function=called.get(str(call_id)),
            error=ToolCallError("unknown", _plain(content)) if part.get("is_error") else None,
            id="",
        )
    rest = [part for part in raw if not _is(part, "tool_result")] if results else raw
    if rest or not results:
        yield ChatMessageUser(content=content_of(rest, index), id="")


def _tool(record: Mapping[str, Any], raw: Any, index: int, called: dict[str, str]) -> ChatMessage:
    ids = record.get("tool_call_ids")
    call_id = record.get("tool_call_id", ids[0] if isinstance(ids, list) and ids else None)
    name = record.get("name", record.get("function"))
    error = record.get("error")
    if isinstance(raw, Mapping):
        raw = as_text(raw)
    return ChatMessageTool(
        content=content_of(raw, index),
        tool_call_id=None if call_id is None else str(call_id),
        function=called.get(str(call_id)) if name is None else str(name),
        error=ToolCallError("unknown", str(error.get("message", ""))) if isinstance(error, Mapping) else None,
        id="",
    )


def _assistant(record: Mapping[str, Any], raw: Any, index: int, called: dict[str, str]) -> ChatMessage:
    parts = raw if isinstance(raw, list) else []
    calls = _tool_calls(record, index)
    calls += [_tool_use(part, index) for part in parts if _is(part, "tool_use") and "input" in part]
    called.update({call.id: call.function for call in calls})
    said = [part for part in parts if not (_is(part, "tool_use") and "input" in part)] if parts else raw
    content = content_of(said, index)
    return ChatMessageAssistant(content=_with_reasoning(content, record), tool_calls=calls or None, id="")


def _is(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == kind


def _plain(content: str | list[Content]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, ContentText))


def _with_reasoning(content: str | list[Content], record: Mapping[str, Any]) -> str | list[Content]:
    reasoning = next((record[key] for key in _REASONING_KEYS if record.get(key)), None)
    if not isinstance(reasoning, str):
        return content
    spoken: list[Content] = [ContentText(text=content)] if isinstance(content, str) else content
    return [ContentReasoning(reasoning=reasoning), *spoken]


def _tool_calls(record: Mapping[str, Any], index: int) -> list[ToolCall]:
    raw = record.get("tool_calls")
    raw = [] if raw is None else raw
    if isinstance(record.get("function_call"), Mapping):
        raw = [*raw, {"function": record["function_call"]}] if isinstance(raw, list) else raw
    if not isinstance(raw, list):
        raise RecordError(f"message {index}: 'tool_calls' is not a list")
    return [_tool_call(call, index, number) for number, call in enumerate(raw)]


def _tool_call(call: Any, index: int, number: int) -> ToolCall:
    """OpenAI's {id, function: {name, arguments}} or Inspect's {id, function, arguments}."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if isinstance(function, str):
        function = {"name": function, "arguments": call.get("arguments")}
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RecordError(f"message {index}: tool call {number} names no function")
    arguments, error = _arguments(function.get("arguments"))
    call_id = str(call.get("id") or f"call_{index}_{number}")
    return ToolCall(id=call_id, function=function["name"], arguments=arguments, parse_error=error)


def _tool_use(part: Mapping[str, Any], index: int) -> ToolCall:
    if not isinstance(part.get("name"), str):
        raise RecordError(f"message {index}: a tool use names no tool")
    arguments, error = _arguments(part["input"])
    return ToolCall(
        id=str(part.get("id") or f"call_{index}"), function=part["name"], arguments=arguments, parse_error=error
    )


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


def _parsed(raw: Any) -> Any:
    """ShareGPT writes a call as the JSON text of {name, arguments}."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise RecordError("a 'function_call' turn is not the JSON of a call") from None
