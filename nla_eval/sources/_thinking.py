"""Thinking, in the shapes that providers, gateways and data sets write it, to Inspect's `ContentReasoning`.

Words that can be read become `reasoning`. Where they are encrypted, `redacted` is set and `summary` holds what can be
read. Ciphertext is never words. The shapes are those of OpenAI (Chat and Responses), Anthropic, OpenRouter, LiteLLM,
Mistral, Gemini, Bedrock and of data sets that keep a chain of thought beside the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, Content, ContentReasoning, ContentText

from ..transcript import thinking_text

KEYS = (
    *("reasoning", "reasoning_content", "thinking", "thinking_content", "reasoning_details", "thinking_blocks"),
    *("cot", "chain_of_thought", "reasoning_text", "reasoning_trace", "thought", "thoughts"),
)
"""Where a message, or a record with an answer, holds thinking."""
HOLDERS = ("provider_specific_fields", "additional_kwargs", "model_extra")
"""Where clients keep what their own message has no field for."""
KINDS = (
    *("reasoning", "thinking", "redacted_thinking", "reasoning_text", "thought"),
    *("reasoning.text", "reasoning.summary", "reasoning.encrypted"),
)
"""Types of content parts that are thinking."""

_WORDS = ("text", "thinking", "reasoning", "content", "reasoning_text", "reasoningText", "description")
_CIPHER = ("data", "encrypted_content", "redactedContent")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_=-]{12,}\s*)+")
_SURE = 40
"""Characters without a blank from which base64's alphabet alone tells ciphertext; beside a summary fewer will do."""
_TAGS = {
    **{f"<{name}>": f"</{name}>" for name in ("think", "thinking", "reasoning", "thought")},
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
}
_LONGEST = max(map(len, _TAGS))
_FIRST = tuple({tag[0] for tag in _TAGS})
_LATE = re.compile(r"\s*\n</(?:think|thinking)>(?:\s+|$)")
_BLANK = re.compile(r"\s+")


def thinking_of(record: Mapping[str, Any]) -> list[ContentReasoning]:
    """What stands under `KEYS`. The same words under two keys, as gateways write them, are given once."""
    found: list[ContentReasoning] = []
    met: set[str] = set()
    holders = [record, *(record[key] for key in HOLDERS if isinstance(record.get(key), Mapping))]
    for value in [holder[key] for holder in holders for key in KEYS if holder.get(key)]:
        blocks = list(_blocks(value))
        each = [_squeezed(thinking_text(block)) for block in blocks]
        if not blocks or (found and ("".join(each) in met or not any(each))):
            continue
        found += blocks
        met |= {*each, "".join(each), "".join(_squeezed(thinking_text(block)) for block in found)} - {""}
    return found


def thinking_block(block: Mapping[str, Any]) -> ContentReasoning:
    """One block of thinking, whatever provider wrote it; without words, if it has none."""
    words = next((text for key in _WORDS if (text := _joined(block.get(key)))), "")
    words = words or _joined(block.get("reasoningContent"))
    summary = _joined(block.get("summary"))
    hidden = next((block[key] for key in _CIPHER if isinstance(block.get(key), str)), "")
    secret = bool(hidden or block.get("redacted")) or block.get("type") in ("redacted_thinking", "reasoning.encrypted")
    if words and not block.get("redacted") and not is_cipher(words, beside=bool(summary)):
        return ContentReasoning(reasoning=words, summary=summary or None, signature=_signature(block))
    if summary and not (secret or words):
        return ContentReasoning(reasoning=summary)
    return ContentReasoning(reasoning=words or hidden, summary=summary or None, redacted=True)


def is_cipher(text: str, *, beside: bool) -> bool:
    """Whether a text is encrypted: nothing but base64, and long.

    Args:
        text: Of a thinking block.
        beside: Whether a summary stands beside it; then a short one will do.
    """
    return (beside or len(_BLANK.split(text, 1)[0]) >= _SURE) and _BASE64.fullmatch(text.strip()) is not None


def thinking_apart(message: ChatMessage) -> ChatMessage:
    """The message with its thinking in parts: tags that open its text are taken off, ciphertext is marked."""
    if not isinstance(message, ChatMessageAssistant):
        return message
    if isinstance(message.content, str):
        parts = list(_untagged(ContentText(text=message.content), ())) if may_open(message.content) else []
        return message.model_copy(update={"content": parts}) if len(parts) > 1 or _thought(parts) else message
    parts = []
    opened = False
    for part in message.content:
        if isinstance(part, ContentReasoning):
            parts.append(_marked(part))
        elif isinstance(part, ContentText) and not opened and part.text.strip():
            opened = True
            parts += _untagged(part, [p for p in parts if isinstance(p, ContentReasoning)])
        else:
            parts.append(part)
    changed = len(parts) != len(message.content) or any(a is not b for a, b in zip(parts, message.content, strict=True))
    return message.model_copy(update={"content": parts}) if changed else message


def _thought(parts: Iterable[Content]) -> bool:
    return any(isinstance(part, ContentReasoning) for part in parts)


def _marked(part: ContentReasoning) -> ContentReasoning:
    if part.redacted or not is_cipher(part.reasoning, beside=bool(part.summary)):
        return part
    return part.model_copy(update={"redacted": True})


def may_open(text: str) -> bool:
    """Whether an assistant's text may hold tags of thinking. Errs on the side of yes."""
    if text.lstrip()[:1].lower() in _FIRST:
        return True
    return "<" in text and "</think" in text  # one character is found thirty times as fast as seven


def _untagged(part: ContentText, known: Iterable[ContentReasoning]) -> Iterator[Content]:
    """A text as thinking and what follows it. Thinking that the message holds as a part already is not given again."""
    thoughts, rest = _split(part.text)
    if not thoughts:
        yield part
        return
    held = {_squeezed(thinking_text(block)) for block in known}
    yield from (ContentReasoning(reasoning=words) for words in thoughts if _squeezed(words) not in held)
    if rest.strip():
        yield part.model_copy(update={"text": rest})


def _split(text: str) -> tuple[list[str], str]:
    """The thoughts that a text opens with, and the rest. A tag that is not closed holds the whole text: it was cut."""
    thoughts: list[str] = []
    rest = text
    while True:
        start = rest.lstrip()
        lower = start[:_LONGEST].lower()
        opening = next((tag for tag in _TAGS if lower.startswith(tag)), None)
        if opening is None:
            break
        end = start.lower().find(_TAGS[opening], len(opening))
        words = start[len(opening) :] if end < 0 else start[len(opening) : end]
        rest = "" if end < 0 else start[end + len(_TAGS[opening]) :].lstrip()
        if words.strip():
            thoughts.append(words.strip())
        if end < 0:
            break
    late = None if thoughts else _LATE.search(text)
    # Templates that write the opening tag themselves leave the closing one only, on a line of its own.
    if late is not None and rest is text and text[: late.start()].strip() and text.count("</think") == 1:
        return [text[: late.start()].strip()], text[late.end() :]
    return thoughts, rest


def _blocks(value: Any) -> Iterator[ContentReasoning]:
    if isinstance(value, str):
        if value.strip():
            yield thinking_block({"text": value})
    elif isinstance(value, Mapping):
        if "effort" not in value and "budget_tokens" not in value:  # settings of a request, not thinking
            block = thinking_block(value)
            if block.reasoning or block.summary or block.redacted:
                yield block
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _blocks(held)


def _joined(value: Any) -> str:
    """The words of a text, a list of texts, or of blocks that hold them."""
    if isinstance(value, str):
        return value if value.strip() else ""
    if isinstance(value, Mapping):
        return next((text for key in _WORDS if (text := _joined(value.get(key)))), "")
    if isinstance(value, list | tuple):
        return "\n\n".join(text for held in value if (text := _joined(held)))
    return ""


def _signature(block: Mapping[str, Any]) -> str | None:
    signature = block.get("signature")
    return signature if isinstance(signature, str) else None


def _squeezed(text: str) -> str:
    return _BLANK.sub("", text)
