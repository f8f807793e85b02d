"""Turns of a conversation that a format writes as separate items: thinking, text, calls, results.

Items go in, in order; messages in the shape that `chat_messages` reads come out. Thinking, text and calls that follow
each other are one assistant turn, as one answer of the model; text or thinking after a call begins the next turn, so
that no item changes its place. It knows no format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..transcript import Author, TurnFacts
from ._base import as_text

Message = dict[str, Any]


class Turns:
    """Builds messages from items."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._facts: list[TurnFacts] = []
        self._open: Message | None = None

    @property
    def messages(self) -> list[Message]:
        """The messages so far, as `chat_messages` reads them; a turn of calls only has no content."""
        return [m if m.get("content") != [] else {**m, "content": None} for m in self._messages]

    @property
    def facts(self) -> tuple[TurnFacts, ...]:
        """What is known of each assistant turn; empty where nothing is known of any."""
        return tuple(self._facts) if any(facts != TurnFacts() for facts in self._facts) else ()

    @property
    def spoken(self) -> bool:
        """Whether the turn that the next item belongs to has text already."""
        return self._open is not None and any(part.get("type") != "reasoning" for part in self._open["content"])

    def add(self, role: str, content: Any) -> None:
        """A message of anyone but the assistant. Empty text is kept: it was there."""
        self._open = None
        self._messages.append({"role": role, "content": content})

    def whole(self, message: Mapping[str, Any]) -> None:
        """A message that is one already, by its role, such as a chat message among items."""
        self._open = None
        self._messages.append(dict(message))
        if message.get("role") == "assistant":
            self._facts.append(TurnFacts())

    def think(self, words: str, *, summary: str = "", hidden: str = "") -> None:
        """Thinking: its words, else its summary, else the ciphertext, marked as such."""
        block: Message = {"type": "reasoning", "reasoning": words or summary}
        if words and summary:
            block["summary"] = summary
        if not (words or summary):
            if not hidden:
                return
            block |= {"reasoning": hidden, "redacted": True}
        self._speaking()["content"].append(block)

    def say(self, content: Any) -> None:
        """Text of the assistant, or a list of content parts."""
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        self._speaking()["content"].extend(parts)

    def beside(self, held: Mapping[str, Any]) -> None:
        """What the message of the newest assistant turn says beside its content, such as thinking or a refusal."""
        if self._open is not None:
            self._open.update(held)

    def call(self, call_id: str | None, name: Any, arguments: Any) -> None:
        """A tool call."""
        turn = self._turn()
        function = {"name": name, "arguments": arguments}
        turn.setdefault("tool_calls", []).append({"id": call_id, "type": "function", "function": function})

    def result(self, call_id: Any, content: Any, *, name: Any = None, failed: bool = False) -> None:
        """The result of a tool call."""
        self._open = None
        message: Message = {"role": "tool", "content": content}
        if call_id is not None:
            message["tool_call_id"] = call_id
        if name is not None:
            message["name"] = name
        if failed:
            message["error"] = {"message": content if isinstance(content, str) else as_text(content)}
        self._messages.append(message)

    @property
    def begun(self) -> int:
        """How many assistant turns there are so far."""
        return len(self._facts)

    def ended(self, stop: str | None, author: Author = Author.RECORDED, *, since: int = 0) -> None:
        """Say of the newest assistant turn why it ended, or who wrote it. The next item begins a new turn.

        Args:
            stop: In Inspect's terms; None if unknown.
            author: Of the turn.
            since: `begun` before the answer whose end this is: an answer without a turn says nothing of another one.
        """
        if len(self._facts) > since and (stop is not None or author is not Author.RECORDED):
            self._facts[-1] = TurnFacts(author=author, stop=stop)
        self._open = None

    def close(self) -> None:
        """The next item begins a new turn."""
        self._open = None

    def _speaking(self) -> Message:
        """The turn that takes text or thinking now."""
        if self._open is not None and self._open.get("tool_calls"):
            self._open = None
        return self._turn()

    def _turn(self) -> Message:
        if self._open is None:
            self._open = {"role": "assistant", "content": []}
            self._messages.append(self._open)
            self._facts.append(TurnFacts())
        return self._open


def text_of(value: Any, keys: Sequence[str] = ("text", "content")) -> str:
    """The words of a text, of a part, or of a list of such; a blank line between them."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return next((text for key in keys if (text := text_of(value.get(key), keys))), "")
    if isinstance(value, list):
        return "\n\n".join(text for held in value if (text := text_of(held, keys)))
    return ""


STOPS = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "STOP": "stop",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "MAX_TOKENS": "max_tokens",
    "model_context_window_exceeded": "model_length",
    "model_length": "model_length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
"""Why a turn ended, in the words of providers, to Inspect's."""


STOP_KEYS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason")
"""Where a message, a choice or a record says why its answer ended."""


def stop_of(raw: Any) -> str | None:
    """A provider's word for the end of a turn in Inspect's terms; None for nothing, "unknown" for a word not known."""
    if not isinstance(raw, str) or not raw:
        return None
    word = raw.rpartition(".")[2]  # Python writes members of an enumeration as "FinishReason.MAX_TOKENS"
    return STOPS.get(word) or STOPS.get(word.lower(), "unknown")
