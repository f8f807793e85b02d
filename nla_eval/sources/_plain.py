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
_KEYS = ({"role", "content"}, {"from", "value"})
_PLAIN = {"id", "content", "role"}


def plain_message(record: Mapping[str, Any], roles: Mapping[str, str], message_id: str) -> ChatMessage | None:
    """The message; None where it is more than a role and a text, or of another role.

    Args:
        record: As it was written.
        roles: Role names and what they mean.
        message_id: Its id.
    """
    if len(record) != 2 or record.keys() not in _KEYS:
        return None
    given, text = record.values() if next(iter(record)) in ("role", "from") else reversed(record.values())
    template = _TEMPLATES.get(roles.get(given, "")) if isinstance(given, str) else None
    if template is None or not isinstance(text, str):
        return None
    # As pydantic's `model_construct`, which looks up each field's default anew: 8 microseconds instead of 1.
    kind = type(template)
    message = kind.__new__(kind)
    object.__setattr__(message, "__dict__", {**template.__dict__, "id": message_id, "content": text})
    object.__setattr__(message, "__pydantic_fields_set__", {"id", "content"})
    object.__setattr__(message, "__pydantic_extra__", None)
    object.__setattr__(message, "__pydantic_private__", None)
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
