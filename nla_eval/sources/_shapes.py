"""Lists of messages in shapes that are no chat messages, to such: items of the Responses API, dumps of LangChain,
contents of Gemini, messages of the AI SDK, messages that hold the results of Anthropic's own tools. A list of chat
messages comes back as it is; messages of several shapes may stand in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import _ai_sdk, _gemini, _langchain, _responses, _server_tools
from ._notes import SourceNotes
from ._turns import Turns


def is_message(value: Any) -> bool:
    """Whether something is one message, in any shape that is read."""
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("role"), str):
        return any(key in value for key in ("content", "parts", "tool_calls", "function_call", "text"))
    shaped = isinstance(value.get("from"), str) and "value" in value
    return shaped or _responses.is_item(value) or _langchain.is_dumped(value)


def as_chat(raw: Sequence[Any], notes: SourceNotes | None = None) -> Sequence[Any]:
    """Messages in the shape of chat messages.

    Args:
        raw: Messages as they were written.
        notes: Is told of what the shape itself leaves out.

    Raises:
        RecordError: an item or part of an unknown type among such.
    """
    if all(map(_is_plain, raw)):
        return raw
    chat = _of_shape(raw, notes)
    if not any(map(_server_tools.is_message, chat)):
        return chat
    return [one for m in chat for one in (_server_tools.apart(m) if _server_tools.is_message(m) else (m,))]


def _of_shape(raw: Sequence[Any], notes: SourceNotes | None) -> Sequence[Any]:
    """Chat messages of the shape that the list is in."""
    if any(map(_ai_sdk.is_message, raw)):
        turns = Turns()
        _ai_sdk.add_messages(turns, raw, notes or SourceNotes())
        return turns.messages
    if any(map(_responses.is_item, raw)):
        turns = Turns()
        _responses.add_items(turns, raw)
        return turns.messages
    if any(map(_gemini.is_content, raw)):
        turns = Turns()
        _gemini.add_contents(turns, raw)
        return turns.messages
    if any(map(_langchain.is_dumped, raw)):
        return [_langchain.chat_message(m, n) if _langchain.is_dumped(m) else m for n, m in enumerate(raw)]
    return raw


def _is_plain(value: Any) -> bool:
    """Whether something is a chat message that only holds text, for sure."""
    return (
        type(value) is dict
        and "role" in value
        and not ("type" in value or "parts" in value or "toolInvocations" in value)
        and type(value.get("content")) is not list
    )
