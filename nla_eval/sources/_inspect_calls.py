"""What a model saw and wrote in one sample of an Inspect log, from the sample's messages and its model calls.

A sample's messages are the agent's history. They are not what the model saw once that history was compacted, nor in an
audit, where they are the auditor's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inspect_ai.event import CompactionEvent, Event, ModelEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage
from inspect_ai.tool import ToolInfo

from ..printable import one_line
from ..transcript import TurnFacts, content_digest
from ._base import Branches, Fields, RecordError, SourceOptions
from ._inspect_authors import Answer, Measured, answers, measured, model_calls, role_calls, turn_facts

_QUOTED = 120
"""Characters of an error or a reason that are quoted."""


@dataclass(frozen=True)
class Conversation:
    """One stretch of conversation as a model saw it."""

    messages: list[ChatMessage]
    tools: tuple[ToolInfo, ...] = ()
    model: str | None = None
    """Who wrote it, where that is not the log's model."""
    turn_facts: tuple[TurnFacts, ...] = ()


@dataclass(frozen=True)
class Conversations:
    """What is read of a sample."""

    stretches: list[Conversation]
    """Oldest first."""
    role: str
    """Whose they are: a model role, or "main"."""
    calls: dict[str, int]
    """Calls by model role."""

    def numbered(self, fields: Fields, number: int) -> Fields:
        """A stretch's fields with what only all of them know: the role, its calls, and which stretch of the run it is.

        Args:
            fields: Of one stretch; their id is the run's.
            number: Of the stretch, counted from 1.
        """
        facts = {**fields.metadata, "model_role": self.role}
        if number == 1:
            facts["model_calls"] = self.calls or None
        if len(self.stretches) > 1:
            return replace(fields, id=f"{fields.id}#{number}", metadata={**facts, "run": fields.id})
        return replace(fields, metadata=facts)


def quoted(text: str) -> str:
    """For a reason in quotes: those are grouped whatever stands inside."""
    return one_line(text).replace("'", "’")[:_QUOTED]


def conversations(sample: EvalSample, header: Mapping[str, Any], options: SourceOptions) -> Conversations:
    """The conversations of a sample.

    Args:
        sample: With its events.
        header: What the log says of all samples: "model", "model_roles".
        options: Of the source.

    Raises:
        RecordError: the role made no call.
    """
    of = measured(sample, header, options.model_role)
    given = answers(sample.events, of)
    own = _calls_of(answer for answer in given if answer.own)
    calls = role_calls(sample.events)
    found = _of_agent(sample, own, of) if of.role is None else _of_role(sample, own, of, options)
    return Conversations([replace(c, turn_facts=turn_facts(c.messages, given)) for c in found], of.name, calls)


def _of_role(sample: EvalSample, own: list[ModelEvent], of: Measured, options: SourceOptions) -> list[Conversation]:
    calls = own or [call for call in model_calls(sample.events) if call.role == of.role]
    if not calls:
        there = ", ".join(role_calls(sample.events)) or "none"
        raise RecordError(f"no call to the model role '{of.role}'; roles with calls: {there} (--model-role ROLE)")
    if options.branches is Branches.ALL:
        return [_seen(call) for call in _longest(calls)]
    return [_seen(stretch[-1]) for stretch in _stretches(sample.events, calls, of.role)]


def _of_agent(sample: EvalSample, own: list[ModelEvent], of: Measured) -> list[Conversation]:
    calls = own or model_calls(sample.events)
    tools = tuple(calls[-1].tools) if calls else ()
    whole = [Conversation(list(sample.messages), tools, of.model)]
    if not any(isinstance(event, CompactionEvent) for event in sample.events):
        return whole
    # The call that writes a summary is not the agent's own: what it says never becomes a message of the sample.
    said = {message.id for message in sample.messages if message.role == "assistant"}
    kept = [call for call in own if call.output.message.id in said]
    seen = [_seen(stretch[-1]) for stretch in _stretches(sample.events, kept, None)]
    return [replace(stretch, model=of.model) for stretch in seen] or whole


def _calls_of(given: Iterable[Answer]) -> list[ModelEvent]:
    """Each call once, in order."""
    return list({id(answer.call): answer.call for answer in given}.values())


def _seen(call: ModelEvent) -> Conversation:
    return Conversation([*call.input, call.output.message], tuple(call.tools), call.model)


def _stretches(events: Sequence[Event], calls: Sequence[ModelEvent], role: str | None) -> list[list[ModelEvent]]:
    """`calls` between compactions of the role's conversation; never an empty stretch."""
    wanted = {id(call) for call in calls}
    found: list[list[ModelEvent]] = [[]]
    for event in events:
        if isinstance(event, CompactionEvent) and (role is None or event.role in (None, role)):
            found.append([])
        elif id(event) in wanted and isinstance(event, ModelEvent):
            found[-1].append(event)
    return [stretch for stretch in found if stretch]


def _longest(calls: Sequence[ModelEvent]) -> list[ModelEvent]:
    """Calls whose conversation no later call goes on with: the ends of every branch."""
    ends: list[ModelEvent] = []
    keys: list[list[str]] = []
    for call in reversed(calls):
        key = [content_digest([message]) for message in _seen(call).messages]
        if not any(later[: len(key)] == key for later in keys):
            ends.append(call)
            keys.append(key)
    return ends[::-1]
