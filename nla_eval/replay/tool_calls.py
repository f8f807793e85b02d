"""Parses tool calls in a target's text, in the notations that open models are trained to write.

In: the text and the tools in the prompt. Out: the calls, and the remaining text as speech. Text that only looks like a
call, or names an unknown tool, stays speech. This module knows no template and runs nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from inspect_ai.tool import ToolCall, ToolInfo

ID_LENGTH = 9
"""Mistral's template accepts only call ids of exactly nine letters and digits."""

_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.S)
"""Notation of Qwen2.5, Qwen3, Hermes and replay's text fallback."""
_BARE = re.compile(
    r"(?:<\|python_tag\|>|\[TOOL_CALLS\])?\s*(?:```(?:json|tool_call)?\s*)?([\[{].*[\]}])\s*(?:```)?\s*\Z", re.S
)
"""Notation of Llama 3 (an object with "parameters"), Mistral (a list) and Gemma (a fenced block). Calls must fill the
text to its end."""


def tool_calls(text: str, tools: Sequence[ToolInfo]) -> tuple[str, list[ToolCall]]:
    """Split a text into (speech, calls).

    Args:
        text: The target's text, without special tokens.
        tools: Tools the target may call. Text that calls another tool is not read as a call.
    """
    known = {tool.name for tool in tools}
    tagged = list(_TAGGED.finditer(text))
    found = [call for match in tagged for call in _calls(match[1], known)]
    if tagged and found:
        return text[: tagged[0].start()].strip(), _numbered(found, text)
    bare = _BARE.search(text)
    found = list(_calls(bare[1], known)) if bare else []
    return (text[: bare.start()].strip(), _numbered(found, text)) if bare and found else (text, [])


def _calls(written: str, known: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        return
    for item in value if isinstance(value, list) else [value]:
        call = item.get("function", item) if isinstance(item, dict) else None
        if not isinstance(call, dict) or call.get("name") not in known:
            continue
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, dict):
            yield call["name"], arguments


def _numbered(found: list[tuple[str, dict[str, Any]]], text: str) -> list[ToolCall]:
    made = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return [
        ToolCall(id=f"{made[: ID_LENGTH - 2]}{number:02}", function=name, arguments=arguments)
        for number, (name, arguments) in enumerate(found)
    ]
