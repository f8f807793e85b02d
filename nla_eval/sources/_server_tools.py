"""Messages of Anthropic's with tools that the API ran itself: the call, its result and what was said after it stand in
one message. Here they are a turn with the call, the result, and the next turn, so that words of a web page or of a
program are never the assistant's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._base import as_text
from ._turns import text_of

_CALLS = ("server_tool_use", "mcp_tool_use", "server_tool_call")
"""The last one is LangChain's."""
_RESULT = "_tool_result"
_CIPHER = ("encrypted_content", "encrypted_index", "encrypted_stdout")


def is_message(value: Any) -> bool:
    """Whether something is a message with calls or results of such tools."""
    content = value.get("content") if isinstance(value, Mapping) else None
    return isinstance(content, list) and any(_is_result(part) or _is_call(part) for part in content)


def apart(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns and results of a message, in order. What it says beside its content stands at its last turn."""
    found: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    turn: dict[str, Any] | None = None
    last: dict[str, Any] = {}
    role = {key: held for key, held in message.items() if key in ("role", "from", "speaker")}
    for part in message["content"]:
        if _is_result(part):
            found.append(_result(part, names))
            turn = None
            continue
        if turn is None:
            turn = last = {**role, "content": []}
            found.append(turn)
        turn["content"].append(_call(part, names) if _is_call(part) else part)
    last.update({key: held for key, held in message.items() if key != "content"})
    return found


def _call(part: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A call of such a tool as any other call."""
    name = ".".join(as_text(part[key]) for key in ("server_name", "name") if part.get(key))
    names[as_text(part.get("id") or "")] = name
    return {"type": "tool_use", "id": part.get("id"), "name": name, "input": part.get("input", part.get("args"))}


def _result(part: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    content = part.get("content", part.get("output"))
    call_id = as_text(part.get("tool_use_id") or part.get("tool_call_id") or "")
    made: dict[str, Any] = {"role": "tool", "tool_call_id": call_id, "content": _words(content)}
    if call_id in names:
        made["name"] = names[call_id]
    if part.get("is_error") or part.get("status") == "error" or _kind(content).endswith("_error"):
        made["is_error"] = True
    return made


def _words(content: Any) -> str:
    """What a tool gave: its text, else its JSON without what is encrypted."""
    if isinstance(content, list) and all(_kind(part) == "text" for part in content):
        return text_of(content)
    return "" if content is None else as_text(_open(content))


def _open(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _open(held) for key, held in value.items() if key not in _CIPHER}
    return [_open(held) for held in value] if isinstance(value, list) else value


def _is_call(part: Any) -> bool:
    return _kind(part) in _CALLS and ("input" in part or "args" in part)


def _is_result(part: Any) -> bool:
    return _kind(part).endswith(_RESULT)


def _kind(part: Any) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""
