"""Messages in OpenAI's harmony format: an assistant's message has a channel, and one to a recipient is a tool call.

What stands in the channel "analysis" is thinking, unless it is a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._turns import text_of

_EVERYONE = (None, "", "all", "user", "assistant")


def of_harmony(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message of an assistant as a chat message; one without a channel as it is."""
    if "channel" not in record:
        return record
    content, recipient = record.get("content"), record.get("recipient")
    rest = {key: held for key, held in record.items() if key not in ("content", "recipient")}
    if isinstance(recipient, str) and recipient not in _EVERYONE:
        call = {"function": {"name": recipient, "arguments": text_of(content)}}
        return {**rest, "content": None, "tool_calls": [call]}
    words = text_of(content)
    if record["channel"] == "analysis" and words:
        return {**rest, "content": [{"type": "thinking", "thinking": words}]}
    return {**rest, "content": content} if "content" in record else rest
