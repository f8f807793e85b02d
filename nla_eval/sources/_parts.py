"""The content of one message, as OpenAI, Anthropic, Gemini or Inspect write it, to Inspect's content types.

Text and thinking keep their words; images, files and sound stay as parts of their kind, which no text model sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.model import (
    Content,
    ContentAudio,
    ContentDocument,
    ContentImage,
    ContentText,
)
from pydantic import TypeAdapter, ValidationError

from ._base import RecordError, as_text
from ._thinking import KINDS, thinking_block
from ._turns import text_of

_INSPECT: TypeAdapter[Content] = TypeAdapter(Content)
_TEXT = ("text", "input_text", "output_text", "refusal")
_IMAGE = ("image", "image_url", "input_image")
_FILE = ("file", "input_file", "document")
PART_KEYS = frozenset(
    (
        *("type", "text", "refusal", "thinking", "reasoning", "summary", "content", "signature", "data", "redacted"),
        *("encrypted_content", "thought", "thoughtSignature", "reasoningContent", "internal", "image_url", "image"),
        *("detail", "source", "file", "input_audio", "audio", "transcript", "document", "title", "filename"),
        *("file_data", "file_id", "mime_type", "input", "id", "name", "tool_use_id", "is_error", "cache_control"),
        *("format", "annotations", "cache_breakpoint", "index", "partial_json", "caller", "toolUse", "toolResult"),
    )
)
"""Keys of a content part that are read, or hold no words of the conversation."""
_AUDIO = ("input_audio", "audio", "output_audio")


def content_of(raw: Any, index: int) -> str | list[Content]:
    """Content as text or typed parts.

    Args:
        raw: Text, null, one part, or a list of them.
        index: Of the message, for the reason.

    Raises:
        RecordError: something else, or a part of an unknown type.
    """
    if raw is None:
        return ""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Mapping):
        raw = [raw]
    if isinstance(raw, list):
        return [_part(part, index) for part in raw]
    raise RecordError(f"message {index}: 'content' is neither text, null nor a list")


def _part(part: Any, index: int) -> Content:
    if isinstance(part, str):
        return ContentText(text=part)
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind is None and isinstance(part, Mapping):
        if part.get("thought") is True or "reasoningContent" in part:  # Gemini's and Bedrock's thinking
            return thinking_block(part)
        if isinstance(part.get("text"), str):
            return ContentText(text=part["text"])
    if isinstance(kind, str):
        found = _known(part, kind)
        if found is not None:
            return found
        try:
            return _INSPECT.validate_python(part)
        except ValidationError:
            pass
    raise RecordError(f"message {index}: a content part of unknown type '{kind}'")


def _known(part: Mapping[str, Any], kind: str) -> Content | None:
    if kind in _TEXT:
        held = part.get("text")
        if isinstance(held, Mapping):  # OpenAI's Assistants API: {"value": ..., "annotations": []}
            part = {**part, "text": held.get("value")}
        text = next((part[key] for key in ("text", "refusal") if isinstance(part.get(key), str)), None)
        return None if text is None else ContentText(text=text, refusal=kind == "refusal" or None)
    if kind in KINDS or part.get("thought") is True:
        return thinking_block(part)
    if kind in _IMAGE:
        return ContentImage(image=_address(part.get("image_url", part.get("image", part.get("source")))))
    if kind in _FILE:
        return _file(part)
    if kind in _AUDIO and (words := transcript_of(part)):
        return ContentText(text=words)
    if kind == "input_audio" and isinstance(part.get("input_audio"), Mapping):
        sound = part["input_audio"]
        return ContentAudio(audio=str(sound.get("data", "")), format="mp3" if sound.get("format") == "mp3" else "wav")
    if kind == "search_result":
        return ContentText(text="\n\n".join(filter(None, (text_of(part.get("title")), text_of(part.get("content"))))))
    return None


def of_bedrock(part: Any) -> Any:
    """A tool call or result as Bedrock's Converse API writes it, in Anthropic's shape; any other part as it is."""
    if not isinstance(part, Mapping) or "type" in part:
        return part
    call, result = part.get("toolUse"), part.get("toolResult")
    if isinstance(call, Mapping):
        return {"type": "tool_use", "id": call.get("toolUseId"), "name": call.get("name"), "input": call.get("input")}
    if not isinstance(result, Mapping):
        return part
    content = result.get("content")
    held = [
        as_text(block["json"]) if isinstance(block, Mapping) and "json" in block else block for block in content
    ] if isinstance(content, list) else content  # fmt: skip
    failed = result.get("status") == "error"
    return {"type": "tool_result", "tool_use_id": result.get("toolUseId"), "content": held, "is_error": failed}


def transcript_of(holder: Mapping[str, Any]) -> str:
    """The words of a sound: the "transcript" beside it or in it; empty where there is none."""
    inner: Mapping[str, Any] = next((holder[key] for key in _AUDIO if isinstance(holder.get(key), Mapping)), {})
    words = holder.get("transcript") or inner.get("transcript")
    return words if isinstance(words, str) else ""


def _file(part: Mapping[str, Any]) -> Content:
    source = part.get("file", part.get("source", part))
    held = source if isinstance(source, Mapping) else {}
    if held.get("type") == "text" and isinstance(held.get("data"), str):
        return ContentText(text=held["data"])
    if held.get("type") == "content" and (words := text_of(held.get("content"))):
        return ContentText(text=words)
    named = next((held[key] for key in ("file_data", "document", "file_id") if held.get(key)), None)
    name = str(part.get("title") or held.get("filename") or "file")
    return ContentDocument(
        document=str(named or _address(source)), filename=name, mime_type=str(held.get("media_type") or "text/plain")
    )


def _address(source: Any) -> str:
    """A URL, a data URL, or nothing."""
    if isinstance(source, Mapping):
        if isinstance(source.get("data"), str):
            return f"data:{source.get('media_type', 'application/octet-stream')};base64,{source['data']}"
        source = source.get("url", source.get("file_id", ""))
    return source if isinstance(source, str) else ""
