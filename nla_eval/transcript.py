"""The transcript: chat messages (Inspect's `ChatMessage`) with their arm, suite, family and provenance.

Sources yield transcripts and everything else reads them. This module knows nothing of tokens, targets or packs. The
digest covers content only: Inspect draws random message ids, and importing the same messages twice must give the same
key in the store."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool, ContentReasoning, ContentText
from inspect_ai.tool import ToolInfo
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .cards.arm import Arm as Arm
from .errors import InputError


def arm_of(name: str) -> Arm:
    """The arm called `name`. Raises InputError listing the arms."""
    try:
        return Arm(name)
    except ValueError:
        raise InputError(f"arm is '{name}'; expected one of {', '.join(Arm)}") from None


class Author(StrEnum):
    """Who wrote an assistant turn (docs/method.md 4.14). Only the target's own turns count as verbalized."""

    TARGET = "target"
    """The target, in this run."""
    LOGGED = "logged"
    """The target, in a log."""
    RECORDED = "recorded"
    """Another model or an unknown author: recorded words."""
    GIVEN = "given"
    """Not written in this conversation: a prefill, a few-shot answer or an injected turn."""
    AGENT = "agent"
    """Another agent in the same log: a sub-agent, or the agent that took over at a hand-off."""


CUT = frozenset({"max_tokens", "model_length", "content_filter"})
"""Stop reasons of turns that ended early. What such a turn would have said is unknown (docs/method.md 4.14)."""


class TurnFacts(BaseModel):
    """Facts about one assistant turn besides its words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: Author = Author.RECORDED
    stop: str | None = None
    """Stop reason in Inspect's terms ("stop", "max_tokens", "content_filter", ...); None if unknown."""

    @property
    def cut(self) -> bool:
        """Whether a limit or a filter ended it."""
        return self.stop in CUT


class Provenance(BaseModel):
    """Where a transcript came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """A package with its version, a data set with its revision, or a file name (never a full path)."""
    licence: str = "unknown"
    """SPDX id or a short statement."""
    model: str | None = None
    """The model that wrote the assistant turns, if known."""


class Transcript(BaseModel):
    """One conversation that can be replayed through a target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Stable and unique within its suite."""
    messages: list[ChatMessage]
    """In order, as the model saw them."""
    arm: Arm
    suite: str
    """The suite's name: a slug."""
    family: str
    """Its prompt family. Families are the clusters of every interval (docs/method.md 4.10)."""
    tools: list[ToolInfo] = Field(default_factory=list)
    """Tool definitions in the prompt, if known."""
    outcome: str | None = None
    """What the model did, if the suite records it (for P(N | not V, outcome))."""
    on_policy: bool = False
    """True if the target itself wrote at least the last assistant turn."""
    variant: str | None = None
    """Which wording of the family this is (plain, prod, told, ...)."""
    provenance: Provenance
    metadata: dict[str, str] = Field(default_factory=dict)
    turn_facts: tuple[TurnFacts, ...] = ()
    """One per assistant message, in order. Empty: recorded words with unknown stop reasons."""

    @model_validator(mode="after")
    def _one_for_each_turn(self) -> Transcript:
        turns = sum(message.role == "assistant" for message in self.messages)
        if self.turn_facts and len(self.turn_facts) != turns:
            raise ValueError(f"{len(self.turn_facts)} turn_facts for {turns} assistant messages; one for each expected")
        return self

    @property
    def digest(self) -> str:
        """Hex sha256 over messages and tools, without the random message ids. The store's transcript key."""
        return content_digest(self.messages, self.tools)


def content_digest(messages: list[ChatMessage], tools: list[ToolInfo] | None = None) -> str:
    """Hex sha256 over the parts of `messages` and `tools` that a model sees."""
    body: dict[str, Any] = {"messages": [_canonical(m) for m in messages]}
    if tools:
        body["tools"] = [t.model_dump(mode="json", exclude_none=True) for t in tools]
    blob = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(blob.encode("ascii")).hexdigest()


def _canonical(message: ChatMessage) -> dict[str, Any]:
    content: list[list[str]] = [[kind, text] for kind, text in content_parts(message)]
    record: dict[str, Any] = {"role": message.role, "content": content}
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        record["tool_calls"] = [[c.function, c.arguments] for c in message.tool_calls]
    if isinstance(message, ChatMessageTool):
        record["function"] = message.function
        if message.error is not None:
            record["error"] = message.error.message
    return record


def thinking_text(part: ContentReasoning) -> str:
    """The text of a thinking part. For encrypted or empty thinking: its summary, never the ciphertext."""
    hidden = part.redacted or not part.reasoning.strip()
    return (part.summary or "") if hidden else part.reasoning


def content_parts(message: ChatMessage) -> list[tuple[str, str]]:
    """The message's content as (kind, text) pairs in order; kind is "thinking", "text" or another content type.

    `ChatMessage.text` omits reasoning. All code that reads a transcript must use this function instead.
    """
    if isinstance(message.content, str):
        return [("text", message.content)]
    parts: list[tuple[str, str]] = []
    for part in message.content:
        if isinstance(part, ContentReasoning):
            parts.append(("thinking", thinking_text(part)))
        elif isinstance(part, ContentText):
            parts.append(("text", part.text))
        else:
            parts.append((part.type, ""))
    return parts
