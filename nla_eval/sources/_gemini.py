"""Contents of the Gemini API ({role, parts}) to messages: parts with text, thoughts, function calls and responses.

A call without an id, as the API writes most, is paired with the next response of its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._base import RecordError, as_text
from ._turns import Turns

_WORDLESS = ("thought", "thoughtSignature", "thought_signature", "videoMetadata", "video_metadata", "partMetadata")


def is_content(value: Any) -> bool:
    """Whether something is a content of Gemini's with parts that chat messages do not have."""
    parts = value.get("parts") if isinstance(value, Mapping) else None
    held = parts if isinstance(parts, list) else []
    return any(
        isinstance(part, Mapping) and ("text" not in part or "thought" in part) and "type" not in part for part in held
    )


def add_contents(turns: Turns, contents: Iterable[Any]) -> None:
    """Put contents into `turns`, in order. Raises RecordError for what is none."""
    waiting: list[tuple[str, str]] = []
    for number, content in enumerate(contents):
        if isinstance(content, str):
            content = {"role": "user", "parts": [content]}
        if not isinstance(content, Mapping):
            raise RecordError(f"message {number} is not an object")
        if isinstance(content.get("parts"), Mapping | str):
            content = {**content, "parts": [content["parts"]]}
        if not isinstance(content.get("parts"), list):
            turns.whole(content)
        elif content.get("role") in ("model", "assistant"):
            turns.close()
            _answer(turns, content["parts"], number, waiting)
        else:
            _others(turns, content, number, waiting)
    turns.close()


def _answer(turns: Turns, parts: list[Any], number: int, waiting: list[tuple[str, str]]) -> None:
    if not parts:
        turns.say([])
    for at, part in enumerate(parts):
        call, code, ran = (_held(part, key) for key in ("functionCall", "executableCode", "codeExecutionResult"))
        if call is not None:
            call_id = as_text(call.get("id") or f"call_{number}_{at}")
            waiting.append((call_id, as_text(call.get("name"))))
            turns.call(call_id, call.get("name"), call.get("args"))
        elif code is not None:
            turns.call(as_text(code.get("id") or f"code_{number}"), "code_execution", dict(code))
        elif ran is not None:
            failed = ran.get("outcome", 1) != 1 and "OK" not in as_text(ran["outcome"])
            turns.result(
                ran.get("id") or f"code_{number}",
                as_text(ran.get("output") or ""),
                name="code_execution",
                failed=failed,
            )
        elif isinstance(part, Mapping) and part.get("thought") is True:
            turns.think(as_text(part.get("text") or ""))
        elif not (isinstance(part, Mapping) and set(part) <= set(_WORDLESS)):
            turns.say([_part(part, number)])


def _others(turns: Turns, content: Mapping[str, Any], number: int, waiting: list[tuple[str, str]]) -> None:
    """A user's content, in which the responses to calls stand; each is a message of its own, before what is said."""
    said = []
    responded = False
    for part in content["parts"]:
        response = _held(part, "functionResponse")
        if response is None:
            said.append(_part(part, number))
            continue
        responded = True
        name = as_text(response.get("name"))
        given = response.get("id")
        call_id = as_text(given) if given else next((held for held, called in waiting if called == name), None)
        waiting[:] = [held for held in waiting if held[0] != call_id]
        turns.result(call_id, result_text(response.get("response")), name=name, failed=_failed(response))
    if said or not responded:
        role = content.get("role", "user")
        turns.add("tool" if role == "function" else as_text(role), said)


def result_text(response: Any) -> str:
    """What a function gave: the text where it is only that, else JSON."""
    if isinstance(response, Mapping) and len(response) == 1:
        only = next(iter(response.values()))
        if next(iter(response)) in ("output", "result", "content", "error") and isinstance(only, str):
            return only
    return "" if response is None else as_text(response)


def _failed(response: Mapping[str, Any]) -> bool:
    held = response.get("response")
    return isinstance(held, Mapping) and set(held) == {"error"}


def _part(part: Any, number: int) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Mapping):
        if isinstance(part.get("text"), str):
            return {"type": "text", "text": part["text"]}
        blob, file = _held(part, "inlineData"), _held(part, "fileData")
        if blob is not None:
            return next(_media(blob, f"data:{_mime(blob)};base64,{blob.get('data', '')}"))
        if file is not None:
            return next(_media(file, as_text(file.get("fileUri", file.get("file_uri", "")))))
        if isinstance(part.get("type"), str):
            return dict(part)
    keys = ", ".join(map(str, part)) if isinstance(part, Mapping) else type(part).__name__
    raise RecordError(f"message {number}: a part of unknown kind ({keys})")


def _media(held: Mapping[str, Any], address: str) -> Iterator[dict[str, Any]]:
    if _mime(held).startswith("image/"):
        yield {"type": "image_url", "image_url": {"url": address}}
    yield {"type": "file", "file": {"filename": "file", "file_data": address, "media_type": _mime(held)}}


def _mime(held: Mapping[str, Any]) -> str:
    return as_text(held.get("mimeType", held.get("mime_type", "")))


def _held(part: Any, key: str) -> Mapping[str, Any] | None:
    """What a part holds under a key, in camel case or, as in Python, in snake case."""
    if not isinstance(part, Mapping):
        return None
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in key)
    found = part.get(key, part.get(snake))
    return found if isinstance(found, Mapping) else None
