"""Chat messages in the OpenAI shape to Inspect's `ChatMessage`, keeping every message, its order and its text.

Inspect's own converter is not used: it moves the text after a tool result into the message before it and drops a
turn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall, ToolInfo, ToolParams
from pydantic import ValidationError

from ._base import RecordError, message_id

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def chat_messages(raw: Any, transcript_id: str, roles: Mapping[str, str]) -> list[ChatMessage]:
    """Messages in order, with ids that depend on the transcript's id and the message's place only.

    Args:
        raw: A list of {role, content, reasoning?, tool_calls?, tool_call_id?, name?}; content may be null or a list.
        transcript_id: Of the record.
        roles: Role names beyond OpenAI's, and which of those they mean.

    Raises:
        RecordError: not such a list; an unknown role.
    """
    if not isinstance(raw, list):
        raise RecordError("'messages' is not a list")
    messages: list[ChatMessage] = []
    called: dict[str, str] = {}
    for index, record in enumerate(raw):
        if not isinstance(record, Mapping):
            raise RecordError(f"message {index} is not an object")
        message = _message(record, index, {**ROLES, **roles}, called)
        message.id = message_id(transcript_id, index)
        messages.append(message)
    return messages


def tool_infos(raw: Any) -> tuple[ToolInfo, ...]:
    """Tool definitions in the OpenAI shape. Raises RecordError."""
    if raw is None:
        return ()
    try:
        functions = [tool.get("function", tool) for tool in raw]
        return tuple(
            ToolInfo(
                name=f["name"],
                description=f.get("description") or "",
                parameters=ToolParams.model_validate(f.get("parameters") or {}),
            )
            for f in functions
        )
    except (ValidationError, AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"'tools' is not a list of function definitions ({type(error).__name__})") from None


def _message(record: Mapping[str, Any], index: int, roles: Mapping[str, str], called: dict[str, str]) -> ChatMessage:
    given = record.get("role")
    role = roles.get(given) if isinstance(given, str) else None
    content = _content(record.get("content"), index)
    if role == "system":
        return ChatMessageSystem(content=content)
    if role == "user":
        return ChatMessageUser(content=content)
    if role == "tool":
        call_id, name = record.get("tool_call_id"), record.get("name")
        return ChatMessageTool(
            content=content,
            tool_call_id=None if call_id is None else str(call_id),
            function=called.get(str(call_id)) if name is None else str(name),
        )
    if role == "assistant":
        calls = _tool_calls(record, index)
        called.update({call.id: call.function for call in calls})
        return ChatMessageAssistant(content=_with_reasoning(content, record), tool_calls=calls or None)
    raise RecordError(f"message {index} has the unknown role '{given}'; known: {', '.join(sorted(roles))}")


def _content(raw: Any, index: int) -> str | list[Content]:
    if raw is None:
        return ""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, list):
        return [_part(part, index) for part in raw]
    raise RecordError(f"message {index}: 'content' is neither text, null nor a list")


def _part(part: Any, index: int) -> Content:
    if isinstance(part, str):
        return ContentText(text=part)
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = next((part[key] for key in ("text", "refusal") if isinstance(part.get(key), str)), None) if kind else None
    if text is not None and kind in ("text", "input_text", "output_text", "refusal"):
        return ContentText(text=text)
    if kind in ("reasoning", "thinking"):
        return ContentReasoning(reasoning=str(part.get(kind) or part.get("text") or ""))
    if kind in ("image", "image_url", "input_image"):
        image = part.get("image_url", part.get("image"))
        return ContentImage(image=str(image.get("url", "") if isinstance(image, Mapping) else image))
    raise RecordError(f"message {index}: a content part of unknown type '{kind}'")


def _with_reasoning(content: str | list[Content], record: Mapping[str, Any]) -> str | list[Content]:
    reasoning = next((record[key] for key in ("reasoning", "reasoning_content") if record.get(key)), None)
    if not isinstance(reasoning, str):
        return content
    spoken: list[Content] = [ContentText(text=content)] if isinstance(content, str) else content
    return [ContentReasoning(reasoning=reasoning), *spoken]


def _tool_calls(record: Mapping[str, Any], index: int) -> list[ToolCall]:
    raw = record.get("tool_calls") or []
    if isinstance(record.get("function_call"), Mapping):
        raw = [*raw, {"function": record["function_call"]}]
    if not isinstance(raw, list):
        raise RecordError(f"message {index}: 'tool_calls' is not a list")
    return [_tool_call(call, index, number) for number, call in enumerate(raw)]


def _tool_call(call: Any, index: int, number: int) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RecordError(f"message {index}: tool call {number} names no function")
    arguments, error = _arguments(function.get("arguments"))
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
