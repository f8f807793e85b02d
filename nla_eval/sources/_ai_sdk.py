"""Messages of Vercel's AI SDK to chat messages: `UIMessage` with its parts (versions 4 to 6), and `ModelMessage`.

A step of the SDK (one call of the model) is one turn, with its parallel calls; their results, which stand inside the
parts of the calls, follow it. A text or thought after a call was said after its result, so it begins a turn. Parts that
no model sees (`data-*`, sources) are counted as not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._base import RecordError, as_text
from ._notes import BOOKKEEPING, SourceNotes
from ._turns import Turns, text_of

_CALL = "tool-call"
_RESULT = "tool-result"
_INVOCATION = "tool-invocation"
_DYNAMIC = "dynamic-tool"
_STEP = "step-start"
_APPROVALS = ("tool-approval-request", "tool-approval-response")
_SOURCES = ("source", "source-url", "source-document")
_THOUGHTS = ("reasoning", "redacted-reasoning")
_OWN = frozenset((_DYNAMIC, _STEP, "source-url", "source-document", "redacted-reasoning", "reasoning", "file"))
"""Types of parts that only the SDK writes; the last two only under "parts", other providers have them in contents."""
_SHOWN = "data-"
_TOOL = "tool-"
_ENVELOPE = ("state", "providerMetadata", "providerOptions")
_DENIED = "Tool execution denied."
"""What the SDK itself tells the model where no reason is given."""
_READ = frozenset((*BOOKKEEPING, "role", "parts", "content", "chatId", "toolInvocations", "reasoning"))
_TOOL_READ = frozenset(
    (
        *("type", "state", "toolCallId", "toolName", "input", "rawInput", "args", "output", "result", "errorText"),
        *("approval", "providerExecuted", "preliminary", "step", "isError", "dynamic", "invalid", "toolInvocation"),
        *("callProviderMetadata", "resultProviderMetadata", "providerMetadata", "providerOptions"),
    )
)


def is_message(value: Any) -> bool:
    """Whether something is a message with parts, or tool invocations, that only the AI SDK writes."""
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str):
        return False
    if isinstance(value.get("toolInvocations"), list):
        return True
    own = _OWN if "parts" in value else _OWN - {"reasoning", "file"}
    return any(_kind(part) in own or _is_named(part) for part in _parts(value))


def _is_named(part: Any) -> bool:
    """Whether a part has a name of the user's in its type, such as "tool-search"."""
    return _kind(part).startswith((_TOOL, _SHOWN)) and bool({"toolCallId", "toolInvocation", "data"} & {*part})


def add_messages(turns: Turns, messages: Iterable[Any], notes: SourceNotes) -> None:
    """Put messages into `turns`, in order. Raises RecordError for what is none.

    Args:
        turns: Grow by them.
        messages: Of the SDK, or chat messages, which stay as they are.
        notes: Is told of what held text and was not read.
    """
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise RecordError(f"message {number} is not an object")
        parts = _parts(message)
        if not (is_message(message) or (parts and "parts" in message)):
            turns.whole(message)
            continue
        if not all(isinstance(part, Mapping) for part in parts):
            raise RecordError(f"message {number}: a part is not an object")
        notes.left(message, _READ, "messages[].")
        turns.close()
        if message.get("role") == "assistant":
            _Answer(turns, number, notes).add(message, parts)
        else:
            _other(turns, message, parts, number, notes)
    turns.close()


class _Answer:
    """One message of the assistant, which may hold several turns."""

    def __init__(self, turns: Turns, number: int, notes: SourceNotes) -> None:
        self._turns, self._number, self._notes = turns, number, notes
        self._waiting: list[_Result] = []

    def add(self, message: Mapping[str, Any], parts: list[Any]) -> None:
        for part in parts or _before_parts(message):
            self._part(part)
        self._end_step()
        spoken = "".join(text_of([part for part in parts if _kind(part) == "text"]).split())
        if parts and isinstance(message.get("content"), str) and "".join(message["content"].split()) not in spoken:
            self._notes.hold("messages[].content", message["content"])

    def _part(self, part: Mapping[str, Any]) -> None:
        kind = _kind(part)
        if kind == _STEP:
            self._end_step()
        elif kind in (_DYNAMIC, _CALL, _INVOCATION) or (kind.startswith(_TOOL) and kind not in (_RESULT, *_APPROVALS)):
            self._call(part)
        elif kind == _RESULT:
            self._waiting.append(_result(part))
        elif kind in _APPROVALS or kind in _SOURCES or kind.startswith(_SHOWN):
            _unseen(part, self._notes)
        else:
            if self._waiting:
                self._end_step()
            if kind in _THOUGHTS:
                self._think(part)
            else:
                self._turns.say([_content(part, self._number)])

    def _think(self, part: Mapping[str, Any]) -> None:
        words = text_of(part.get("text") or part.get("reasoning") or part.get("details"))
        hidden = part.get("data")
        self._turns.think(words, hidden=hidden if isinstance(hidden, str) else "")

    def _call(self, part: Mapping[str, Any]) -> None:
        held = part.get("toolInvocation", part)
        if not isinstance(held, Mapping):
            raise RecordError(f"message {self._number}: 'toolInvocation' is not an object")
        self._notes.left(held, _TOOL_READ, "messages[].parts[].")
        name = held.get("toolName") or _kind(part).removeprefix(_TOOL)
        given = next((held[key] for key in ("input", "args", "rawInput") if held.get(key) is not None), None)
        call_id = held.get("toolCallId")
        self._turns.call(None if call_id is None else as_text(call_id), name, given)
        if found := _outcome(held, as_text(name)):
            self._waiting.append(found)

    def _end_step(self) -> None:
        """Results of the step follow its turn; what comes next is another call of the model."""
        for result in self._waiting:
            result.put(self._turns)
        self._waiting.clear()
        self._turns.close()


@dataclass(frozen=True)
class _Result:
    call_id: str | None
    name: str
    content: Any
    failed: bool = False

    def put(self, turns: Turns) -> None:
        turns.result(self.call_id, self.content, name=self.name, failed=self.failed)


def _other(turns: Turns, message: Mapping[str, Any], parts: list[Any], number: int, notes: SourceNotes) -> None:
    """A message of a user or system, or of tools: each result is a message of its own."""
    said = []
    for part in parts:
        if _kind(part) == _RESULT:
            notes.left(part, _TOOL_READ, "messages[].content[].")
            _result(part).put(turns)
        elif _kind(part) in (*_APPROVALS, *_SOURCES, _STEP) or _kind(part).startswith(_SHOWN):
            _unseen(part, notes)
        else:
            said.append(_content(part, number))
    if said or not any(_kind(part) == _RESULT for part in parts):
        turns.add(as_text(message.get("role")), said or message.get("content") or "")


def _parts(message: Mapping[str, Any]) -> list[Any]:
    """The parts of a message, where they are typed: under "parts" (UIMessage), else its content (ModelMessage)."""
    for key in ("parts", "content"):
        held = message.get(key)
        if isinstance(held, list) and held and any(_kind(part) for part in held):
            return held
    return []


def _before_parts(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What messages held before they had parts: a thought, tool invocations by step, a text.

    The text was said last, unless a call still waits for its result.
    """
    if message.get("reasoning"):
        yield {"type": "reasoning", "reasoning": message["reasoning"]}
    held = message.get("toolInvocations")
    calls = [call for call in held if isinstance(call, Mapping)] if isinstance(held, list) else []
    content = message.get("content")
    said = [{"type": "text", "text": content}] if isinstance(content, str) and (content.strip() or not calls) else []
    waits = any(_outcome(call, "") is None for call in calls)
    yield from said if waits else ()
    for at, call in enumerate(calls):
        if at and call.get("step", 0) != calls[at - 1].get("step", 0):
            yield {"type": _STEP}
        yield {"type": _INVOCATION, "toolInvocation": call}
    yield from () if waits else said


def _outcome(held: Mapping[str, Any], name: str) -> _Result | None:
    """What a call came to, if it came to anything."""
    call_id = None if held.get("toolCallId") is None else as_text(held["toolCallId"])
    state, approval = held.get("state"), held.get("approval")
    if state == "output-denied":
        reason = approval.get("reason") if isinstance(approval, Mapping) else None
        return _Result(call_id, name, as_text(reason or _DENIED), failed=True)
    if state == "output-error" or isinstance(held.get("errorText"), str):
        return _Result(call_id, name, as_text(held.get("errorText") or ""), failed=True)
    if state in ("output-available", "result") or "output" in held or "result" in held:
        found = held.get("output", held.get("result"))
        return _Result(call_id, name, "" if found is None else as_text(found))
    return None


def _result(part: Mapping[str, Any]) -> _Result:
    """A result of a ModelMessage, in the form of version 4 (`result`) or later (`output` with its type)."""
    call_id = None if part.get("toolCallId") is None else as_text(part["toolCallId"])
    name, output = as_text(part.get("toolName") or ""), part.get("output")
    if not isinstance(output, Mapping) or not isinstance(output.get("type"), str):
        found = part.get("result", output)
        return _Result(call_id, name, "" if found is None else as_text(found), failed=part.get("isError") is True)
    kind, value = output["type"], output.get("value")
    if kind == "execution-denied":
        return _Result(call_id, name, as_text(output.get("reason") or _DENIED), failed=True)
    if kind == "content" and isinstance(value, list):
        return _Result(call_id, name, [_content(held, 0) for held in value])
    return _Result(call_id, name, "" if value is None else as_text(value), failed=kind.startswith("error"))


def _content(part: Any, number: int) -> dict[str, Any]:
    """Text, a file or an image as a content part of a chat message."""
    kind = _kind(part)
    address = next((part[key] for key in ("url", "data", "image") if isinstance(part.get(key), str)), None)
    if address is None or kind == "text":
        return {key: held for key, held in part.items() if key not in _ENVELOPE}
    media = part.get("mediaType", part.get("mimeType"))
    media = media if isinstance(media, str) else ""
    if "url" not in part and not address.startswith(("http:", "https:", "data:")):
        address = f"data:{media or 'application/octet-stream'};base64,{address}"
    if kind.startswith("image") or media.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": address}}
    if kind.startswith(("file", "media", "reasoning-file")):
        name = part.get("filename")
        name = name if isinstance(name, str) else "file"
        return {"type": "file", "file": {"filename": name, "file_data": address, "media_type": media}}
    raise RecordError(f"message {number}: a content part of unknown type '{kind}'")


def _unseen(part: Mapping[str, Any], notes: SourceNotes) -> None:
    """Count the words of a part that is shown to people only."""
    notes.left(part, ("type", "id", "sourceId", "toolCallId", "approvalId"), f"messages[].parts[].{_kind(part)}.")


def _kind(part: Any) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""
