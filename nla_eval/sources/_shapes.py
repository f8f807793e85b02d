"""Lists of messages in shapes that are no chat messages, to such: items of the Responses API, dumps of LangChain,
contents of Gemini. A list of chat messages comes back as it is; messages of several shapes may stand in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import _gemini, _langchain, _responses
from ._turns import Turns


def is_message(value: Any) -> bool:
    """Whether something is one message, in any shape that is read."""
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("role"), str):
        return any(key in value for key in ("content", "parts", "tool_calls", "function_call", "text"))
    shaped = isinstance(value.get("from"), str) and "value" in value
    return shaped or _responses.is_item(value) or _langchain.is_dumped(value)


def as_chat(raw: Sequence[Any]) -> Sequence[Any]:
    """Messages in the shape of chat messages.

    Args:
        raw: Messages as they were written.

    Raises:
        RecordError: an item or part of an unknown type among such.
    """
    if all(type(value) is dict and "role" in value and "type" not in value and "parts" not in value for value in raw):
        return raw
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
