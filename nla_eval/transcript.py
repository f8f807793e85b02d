"""The transcript: chat messages (Inspect's own `ChatMessage`) with the arm, suite, family and provenance they carry.

A transcript is what sources yield and what everything else reads. It knows nothing of tokens, targets or packs.
Its digest is over content only, so that re-importing the same messages (Inspect draws random message ids) gives the
same key in the store."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool, ContentReasoning, ContentText
from inspect_ai.tool import ToolInfo
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .errors import InputError


class Arm(StrEnum):
    """Which side of a comparison a transcript stands on."""

    EVALUATION = "evaluation"
    DEPLOYMENT = "deployment"
    MONITOR = "monitor"


def arm_of(name: str) -> Arm:
    """The arm of that name. Raises InputError listing them."""
    try:
        return Arm(name)
    except ValueError:
        raise InputError(f"arm is '{name}'; expected one of {', '.join(Arm)}") from None


class Author(StrEnum):
    """Who wrote an assistant turn (docs/method.md 4.14). Only turns of the target count as verbalized."""

    TARGET = "target"
    """The target, in this run."""
    LOGGED = "logged"
    """The target, in a log that was read."""
    RECORDED = "recorded"
    """Another model, or nobody says who: recorded words."""
    GIVEN = "given"
    """Nobody in this conversation: a prefill, a few-shot answer, an injected turn."""
    AGENT = "agent"
    """Another agent of the same log: a sub-agent, or whoever took over at a hand-off."""


CUT = frozenset({"max_tokens", "model_length", "content_filter"})
"""Why a turn that ended early did: what it would have said is not known (docs/method.md 4.14)."""


class TurnFacts(BaseModel):
    """What is known of one assistant turn beside its words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: Author = Author.RECORDED
    stop: str | None = None
    """Why it ended, in Inspect's terms ("stop", "max_tokens", "content_filter", ...); None where nothing says."""

    @property
    def cut(self) -> bool:
        """Whether a limit or a filter ended it."""
        return self.stop in CUT


class Provenance(BaseModel):
    """Where a transcript came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """What was read: a package with its version, a data set with its revision, or a file name (never a full path)."""
    licence: str = "unknown"
    """SPDX id or a short statement."""
    model: str | None = None
    """Whose words the assistant turns are, when known."""


class Transcript(BaseModel):
    """One conversation, ready to be replayed through a target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Stable and unique within its suite."""
    messages: list[ChatMessage]
    """In order, as the model saw them."""
    arm: Arm
    suite: str
    """The suite's name: a slug."""
    family: str
    """The prompt family it belongs to: the cluster of every interval (docs/method.md 4.10)."""
    tools: list[ToolInfo] = Field(default_factory=list)
    """Tool definitions that were in the prompt, if known."""
    outcome: str | None = None
    """What the model did, where the suite records it (for P(N | not V, outcome))."""
    on_policy: bool = False
    """True when the target itself wrote at least the last assistant turn."""
    variant: str | None = None
    """Which wording of the family this is (plain, prod, told, ...)."""
    provenance: Provenance
    metadata: dict[str, str] = Field(default_factory=dict)
    turn_facts: tuple[TurnFacts, ...] = ()
    """Of each assistant message, in order. Empty: recorded words whose ends nobody knows."""

    @model_validator(mode="after")
    def _one_for_each_turn(self) -> Transcript:
        turns = sum(message.role == "assistant" for message in self.messages)
        if self.turn_facts and len(self.turn_facts) != turns:
            raise ValueError(f"{len(self.turn_facts)} turn_facts for {turns} assistant messages; one for each expected")
        return self

    @property
    def digest(self) -> str:
        """Hex sha256 over messages and tools, without the random message ids: the store's transcript key."""
        return content_digest(self.messages, self.tools)


def content_digest(messages: list[ChatMessage], tools: list[ToolInfo] | None = None) -> str:
    """Hex sha256 of what a model would see of `messages` and `tools`."""
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
    """The words of a thinking part: of encrypted or empty thinking its summary, never the ciphertext."""
    hidden = part.redacted or not part.reasoning.strip()
    return (part.summary or "") if hidden else part.reasoning


def content_parts(message: ChatMessage) -> list[tuple[str, str]]:
    """The message's content as (kind, text) in order; kind is "thinking", "text" or the name of another content type.

    `ChatMessage.text` leaves reasoning out; everything that reads a transcript goes through here instead.
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
