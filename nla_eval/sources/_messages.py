"""Chat messages as others write them to Inspect's `ChatMessage`, keeping every message, its order and its text.

In: a list in the shape of OpenAI, Anthropic, ShareGPT or Inspect, or a mixture; shapes are told apart message by
message. Inspect's own converters are not used: the one for OpenAI moves the text after a tool result into the message
before it and drops a turn."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

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
from inspect_ai.tool import ToolCallError

from ..transcript import thinking_text
from ._base import RecordError, as_text, message_id
from ._calls import calls_of_turn, tool_calls, tool_use
from ._harmony import of_harmony
from ._notes import BOOKKEEPING, SourceNotes
from ._parts import PART_KEYS, content_of, of_bedrock, transcript_of
from ._plain import plain_message
from ._shapes import as_chat
from ._thinking import HOLDERS, thinking_of
from ._thinking import KEYS as THINKING

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
_RESULT_KEYS = ("output", "result", "response")
"""Where a tool's message holds its words, if under none of the usual names."""
_OF_ALL = BOOKKEEPING | {*_ROLE_KEYS}
_BESIDE = {
    "user": frozenset(("refusal", "audio")),
    "assistant": frozenset((*THINKING, "tool_calls", "function_call", "refusal", "audio")),
    "tool": frozenset(("error",)),
}
"""Keys that hold words, or calls, beside the content of a message, by its role."""
_READ = {
    "user": _OF_ALL | _BESIDE["user"],
    "assistant": _OF_ALL | _BESIDE["assistant"] | {"channel"},
    "tool": _OF_ALL | _BESIDE["tool"] | {"tool_call_id", "tool_call_ids", "name", "function", "is_error", "isError"},
}
"""Keys of a message that are read, or hold no words, by its role; beside them the one that holds its words."""
_ERRORS = ("parsing", "timeout", "unicode_decode", "permission", "file_not_found", "is_a_directory", "limit", "unknown")


def chat_messages(
    raw: Any, transcript_id: str, roles: Mapping[str, str], notes: SourceNotes | None = None
) -> list[ChatMessage]:
    """Messages in order, with ids that depend on the transcript's id and the message's place only.

    Args:
        raw: A list of {role, content, reasoning?, tool_calls?, tool_call_id?, name?}; content may be null or a list of
            parts. A user message of Anthropic's that holds tool results becomes one message for each result, then one
            for what else it says.
        transcript_id: Of the record.
        roles: Further role names, and which of the known ones they mean.
        notes: Is told of every key of a message that held text and was not read.

    Raises:
        RecordError: not such a list; an unknown role.
    """
    if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
        raise RecordError("'messages' is not a list")
    known = {**ROLES, **roles}
    messages: list[ChatMessage] = []
    called: dict[str, str] = {}
    notes = notes or SourceNotes()
    for index, record in enumerate(as_chat(raw, notes)):
        if type(record) is not dict and not isinstance(record, Mapping):
            raise RecordError(f"message {index} is not an object")
        plain = plain_message(record, known, message_id(transcript_id, len(messages)))
        if plain is not None:
            messages.append(plain)
            continue
        try:
            for message in _messages(record, index, known, called, notes):
                message.id = message_id(transcript_id, len(messages))
                messages.append(message)
        except RecursionError:
            raise RecordError(f"message {index} is nested too deeply") from None
    return messages


def _messages(
    record: Mapping[str, Any], index: int, roles: Mapping[str, str], called: dict[str, str], notes: SourceNotes
) -> Iterator[ChatMessage]:
    given, role = role_name(record), role_of(record, roles)
    record = of_harmony(record) if role == "assistant" else record
    key = _content_key(record, role)
    raw = record.get(key)
    _note_unread(record, role, key, notes)
    _expect_words(record, role, key, index)
    if role == "system":
        yield ChatMessageSystem(content=content_of(raw, index), id="")
    elif role == "user":
        yield from _user(record, raw, index, called)
    elif role == "tool":
        yield _tool(record, raw, index, called)
    elif role == "assistant":
        yield _assistant(record, raw, index, called)
    elif role == "call":
        yield _assistant({"tool_calls": calls_of_turn(raw)}, None, index, called)
    else:
        mend = f"--role {shlex.quote(given)}=user (or system, assistant, tool)" if isinstance(given, str) else ""
        raise RecordError(
            f"message {index} has the unknown role '{given}'{': ' + mend if mend else ''}; "
            f"known: {', '.join(sorted(roles))}"
        )


def role_name(record: Any) -> Any:
    """What a message says of its role; None where it says nothing."""
    return next((record[key] for key in _ROLE_KEYS if key in record), None) if isinstance(record, Mapping) else None


def role_of(record: Any, roles: Mapping[str, str]) -> str | None:
    """What the role of a message means, in whatever case it is written; None for an unknown one."""
    given = role_name(record)
    return roles.get(given) or roles.get(given.lower()) if isinstance(given, str) else None


def _content_key(record: Mapping[str, Any], role: str | None) -> str:
    """Where a message holds its words: the first usual name with something in it."""
    keys = (*_CONTENT_KEYS, *_RESULT_KEYS) if role == "tool" else _CONTENT_KEYS
    keys = (*keys, "message") if isinstance(record.get("message"), str) else keys
    return next((key for key in keys if record.get(key)), next((key for key in keys if key in record), keys[0]))


def _note_unread(record: Mapping[str, Any], role: str | None, content_key: str, notes: SourceNotes) -> None:
    read = _READ.get(role or "", _OF_ALL)
    content = record.get(content_key)
    for key, held in record.items():
        if key in HOLDERS and role == "assistant" and isinstance(held, Mapping):
            notes.left(held, THINKING, f"messages[].{key}.")
        elif key not in read and key != content_key and held != content:
            notes.hold(f"messages[].{key}", held)
    if isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping) and not part.keys() <= PART_KEYS:
                notes.left(part, PART_KEYS, "messages[].content[].")


def _expect_words(record: Mapping[str, Any], role: str | None, content_key: str, index: int) -> None:
    """Refuse a message whose words stand under a name that is not read: it would be an empty turn.

    Raises:
        RecordError: it has nothing that is read, and a text under another key.
    """
    if content_key in record or role not in _BESIDE:
        return
    if any(record.get(key) for key in (*HOLDERS, *_BESIDE[role])):
        return
    read = _READ[role] | {"name"}
    if any(key not in read and isinstance(held, str) and held.strip() for key, held in record.items()):
        keys = ", ".join(map(str, list(record)[:8]))
        raise RecordError(f"message {index} holds words under none of the usual names (its keys: {keys})")


def _user(record: Mapping[str, Any], raw: Any, index: int, called: dict[str, str]) -> Iterator[ChatMessage]:
    """Anthropic puts tool results into user messages, first; they are messages of their own here."""
    raw = [of_bedrock(part) for part in raw] if isinstance(raw, list) else raw
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
        yield ChatMessageUser(content=_with_neighbours(content_of(rest, index), record), id="")


def _tool(record: Mapping[str, Any], raw: Any, index: int, called: dict[str, str]) -> ChatMessage:
    ids = record.get("tool_call_ids")
    call_id = record.get("tool_call_id", ids[0] if isinstance(ids, list) and ids else None)
    name = record.get("name", record.get("function"))
    if isinstance(raw, Mapping) or (isinstance(raw, list) and not all(_is_part(held) for held in raw)):
        raw = as_text(raw)
    content = content_of(raw, index)
    return ChatMessageTool(
        content=content,
        tool_call_id=None if call_id is None else str(call_id),
        function=called.get(str(call_id)) if name is None else str(name),
        error=_tool_error(record.get("error"), content if _failed(record) else None),
        id="",
    )


def _failed(record: Mapping[str, Any]) -> bool:
    """Whether a tool's message is marked as a failure."""
    status = record.get("status")
    marked = isinstance(status, str) and status.lower() in ("error", "failed", "failure")
    return marked or bool(record.get("is_error") or record.get("isError"))


def _tool_error(error: Any, failed: str | list[Content] | None) -> ToolCallError | None:
    """What a tool's message says of its failure: an object with a message, a text, or a flag beside the content."""
    if isinstance(error, Mapping):
        kind = error.get("type")
        words = next((error[key] for key in ("message", "error", "detail") if isinstance(error.get(key), str)), "")
        named = next((name for name in _ERRORS if name == kind), "unknown")
        return ToolCallError(cast("Any", named), words or as_text(error))
    if isinstance(error, str) and error.strip():
        return ToolCallError("unknown", error)
    if isinstance(error, list) and error:
        return ToolCallError("unknown", as_text(error))
    return None if failed is None else ToolCallError("unknown", _plain(failed))


def _assistant(record: Mapping[str, Any], raw: Any, index: int, called: dict[str, str]) -> ChatMessage:
    raw = [of_bedrock(part) for part in raw] if isinstance(raw, list) else raw
    parts = raw if isinstance(raw, list) else []
    calls = tool_calls(record, index)
    given = {call.id for call in calls}
    used = [part for part in parts if _is(part, "tool_use") and "input" in part]
    calls += [tool_use(part, index) for part in used if str(part.get("id")) not in given]
    called.update({call.id: call.function for call in calls})
    said = [part for part in parts if not (_is(part, "tool_use") and "input" in part)] if parts else raw
    content = _with_neighbours(content_of(said, index), record)
    return ChatMessageAssistant(content=_with_thinking(content, record), tool_calls=calls or None, id="")


def _with_neighbours(content: str | list[Content], record: Mapping[str, Any]) -> str | list[Content]:
    """The content with words that providers put beside it: a refusal, what was said in sound."""
    refusal = record.get("refusal")
    sound = record.get("audio")
    beside: list[Content] = []
    if isinstance(refusal, str) and refusal.strip():
        beside.append(ContentText(text=refusal, refusal=True))
    if isinstance(sound, Mapping) and (words := transcript_of({"audio": sound})):
        beside.append(ContentText(text=words))
    spoken = _plain(content)
    beside = [part for part in beside if isinstance(part, ContentText) and part.text not in spoken]
    if not beside:
        return content
    held: list[Content] = [ContentText(text=content)] if isinstance(content, str) else content
    return [*(held if content else []), *beside]


def _is_part(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and ("type" in value or "text" in value))


def _is(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == kind


def _plain(content: str | list[Content]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, ContentText))


def _with_thinking(content: str | list[Content], record: Mapping[str, Any]) -> str | list[Content]:
    """The content with the thinking that stands beside it, unless it holds the same thinking as a part."""
    thought = record.get("thought")
    if isinstance(thought, str) and thought.strip() in _plain(content):  # agents keep what they parsed from the content
        record = {**record, "thought": None}
    beside = thinking_of(record)
    parts = [] if isinstance(content, str) else content
    held = {thinking_text(part) for part in parts if isinstance(part, ContentReasoning)}
    beside = [block for block in beside if thinking_text(block) not in held]
    if not beside:
        return content
    spoken: list[Content] = [ContentText(text=content)] if isinstance(content, str) else content
    return [*beside, *spoken]
