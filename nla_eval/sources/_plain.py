"""Messages that are a role and a text, as most are, made without validation: there is nothing to validate in them, and
it was a third of the time that reading takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

_TEMPLATES: dict[str, ChatMessage] = {
    "system": ChatMessageSystem(content="", id=""),
    "user": ChatMessageUser(content="", id=""),
    "assistant": ChatMessageAssistant(content="", id=""),
}
_set = object.__setattr__
_PLAIN = {"id", "content", "role"}


def plain_message(record: Mapping[str, Any], roles: Mapping[str, str], message_id: str) -> ChatMessage | None:
    """The message; None where it is more than a role and a text, or of another role.

    Args:
        record: As it was written.
        roles: Role names and what they mean.
        message_id: Its id.
    """
    if len(record) != 2:
        return None
    given, text = record.get("role", record.get("from")), record.get("content", record.get("value"))
    if type(given) is not str or type(text) is not str:
        return None
    template = _TEMPLATES.get(roles.get(given, ""))
    if template is None:
        return None
    # As pydantic's `model_construct`, which looks up each field's default anew: 8 microseconds instead of 1.
    kind, held = type(template), template.__dict__.copy()
    held["id"], held["content"] = message_id, text
    message = kind.__new__(kind)
    _set(message, "__dict__", held)
    _set(message, "__pydantic_fields_set__", {"id", "content"})
    _set(message, "__pydantic_extra__", None)
    _set(message, "__pydantic_private__", None)
    return message


def is_plain(message: ChatMessage) -> bool:
    """Whether a message holds no more than a text that can be encoded in UTF-8."""
    return isinstance(message.content, str) and message.model_fields_set <= _PLAIN and is_utf8(message.content)


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded: it holds no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
