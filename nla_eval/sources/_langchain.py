"""Messages as LangChain dumps them to chat messages: {"type": "human", ...}, {"type": "human", "data": {...}}, and the
constructor form {"lc": 1, "id": [..., "HumanMessage"], "kwargs": {...}}.

A call stands in `tool_calls` and, by some providers, again as a block of the content: it is read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._base import RecordError, as_text

_TYPES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "chat": "chat",
    "remove": "remove",
}
_MARK = "Message"
_CALL_BLOCKS = ("tool_use", "tool_call", "function_call", "tool_call_chunk", "invalid_tool_call", "input_json_delta")


def is_dumped(value: Any) -> bool:
    """Whether something is a message of LangChain's, in any of its forms."""
    if not isinstance(value, Mapping) or "role" in value:
        return isinstance(value, Mapping) and value.get("type") == "chat" and "content" in value
    if isinstance(value.get("kwargs"), Mapping) and isinstance(value.get("id"), list):
        return bool(value["id"]) and _type(value["id"][-1]) is not None
    held = value.get("data", value)
    return _type(value.get("type")) is not None and isinstance(held, Mapping) and "content" in held


def chat_message(value: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A dumped message as a chat message.

    Args:
        value: `is_dumped`.
        number: Of the message, for the reason.

    Raises:
        RecordError: a message that stands for the removal of another.
    """
    kind, held = _opened(value)
    role = _TYPES[kind]
    if role == "chat":
        role = as_text(held.get("role"))
    if role == "remove":
        raise RecordError(f"message {number} removes another one (LangGraph's RemoveMessage)")
    extra = held.get("additional_kwargs")
    beside = {key: found for key, found in extra.items() if found} if isinstance(extra, Mapping) else {}
    message = {**beside, **{key: found for key, found in held.items() if key not in ("type", "additional_kwargs")}}
    message["role"] = role
    if role == "tool" and held.get("status") == "error":
        message["error"] = {"message": as_text(held.get("content") or "")}
    if role == "assistant":
        _calls(message, held, beside)
    return message


def _opened(value: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The type of a message and what it holds."""
    if isinstance(value.get("kwargs"), Mapping) and isinstance(value.get("id"), list):
        return _type(value["id"][-1]) or "", value["kwargs"]
    held = value.get("data", value)
    return _type(value.get("type")) or "", held if isinstance(held, Mapping) else {}


def _type(name: Any) -> str | None:
    """ "ai" of "ai", "AIMessage" and "AIMessageChunk"."""
    if not isinstance(name, str):
        return None
    short = name.removesuffix("Chunk")
    if short.endswith(_MARK):
        short = short.removesuffix(_MARK).lower()
    return short if short in _TYPES else None


def _calls(message: dict[str, Any], held: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
    """Put the calls of an answer into OpenAI's shape, each once."""
    given = [call for key in ("tool_calls", "invalid_tool_calls") for call in _list(held.get(key))]
    calls = [
        call
        if "function" in call
        else {"id": call.get("id"), "function": {"name": call.get("name"), "arguments": call.get("args")}}
        for call in given
    ]
    content = held.get("content")
    blocks = [part for part in _list(content) if part.get("type") in _CALL_BLOCKS]
    calls = calls or _list(beside.get("tool_calls"))
    known = {call.get("id") for call in calls} | {None}
    calls += [_of_block(part) for part in blocks if "name" in part and (not calls or _block_id(part) not in known)]
    if isinstance(content, list):
        message["content"] = [part for part in content if part not in blocks]
    message.pop("invalid_tool_calls", None)
    message.pop("tool_calls", None)
    if calls:
        message["tool_calls"] = calls
        message.pop("function_call", None)


def _of_block(part: Mapping[str, Any]) -> dict[str, Any]:
    arguments = next((part[key] for key in ("input", "args", "arguments") if part.get(key) is not None), None)
    return {"id": _block_id(part), "function": {"name": part.get("name"), "arguments": arguments}}


def _block_id(part: Mapping[str, Any]) -> Any:
    """The id by which a call is known; OpenAI's items have another one of their own."""
    return part.get("call_id", part.get("id"))


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [held for held in value if isinstance(held, Mapping)] if isinstance(value, list) else []
