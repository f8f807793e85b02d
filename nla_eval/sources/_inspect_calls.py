"""What a model saw and wrote in one sample of an Inspect log, from the sample's messages and its model calls.

A sample's messages are the agent's history. They are not what the model saw once that history was compacted, nor in an
audit, where they are the auditor's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspect_ai.event import CompactionEvent, Event, ModelEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage
from inspect_ai.tool import ToolInfo

from ..transcript import content_digest
from ._base import Branches, RecordError, SourceOptions


@dataclass(frozen=True)
class Conversation:
    """One stretch of conversation as a model saw it."""

    messages: list[ChatMessage]
    tools: tuple[ToolInfo, ...] = ()
    model: str | None = None
    """Who wrote it, where that is not the log's model."""


def conversations(sample: EvalSample, options: SourceOptions) -> list[Conversation]:
    """The conversations of a sample, oldest first.

    Raises:
        RecordError: the role made no call.
    """
    if options.model_role is None:
        return _of_agent(sample)
    calls = [e for e in sample.events if _is_call(e) and e.role == options.model_role and not e.output.empty]
    if not calls:
        raise RecordError(f"no call to the model role '{options.model_role}'")
    if options.branches is Branches.ALL:
        return [_seen(call) for call in _longest(calls)]
    kept = {id(call) for call in calls}
    stretches = _stretches(sample.events, options.model_role)
    lasts = [[e for e in stretch if id(e) in kept] for stretch in stretches]
    return [_seen(stretch[-1]) for stretch in lasts if stretch]


def _of_agent(sample: EvalSample) -> list[Conversation]:
    calls = [event for event in sample.events if _is_call(event)]
    tools = tuple(calls[-1].tools) if calls else ()
    if not any(isinstance(event, CompactionEvent) for event in sample.events):
        return [Conversation(list(sample.messages), tools)]
    # The call that writes a summary is not the agent's own: what it says never becomes a message of the sample.
    said = {message.id for message in sample.messages if message.role == "assistant"}
    own = {id(call) for call in calls if not call.output.empty and call.output.message.id in said}
    lasts = [[e for e in stretch if id(e) in own] for stretch in _stretches(sample.events, None)]
    seen = [_seen(stretch[-1]) for stretch in lasts if stretch]
    return [Conversation(s.messages, s.tools) for s in seen] or [Conversation(list(sample.messages), tools)]


def _is_call(event: Event) -> bool:
    return isinstance(event, ModelEvent)


def _seen(call: ModelEvent) -> Conversation:
    return Conversation([*call.input, call.output.message], tuple(call.tools), call.model)


def _stretches(events: Sequence[Event], role: str | None) -> list[list[ModelEvent]]:
    """Model calls between compactions of the role's conversation."""
    found: list[list[ModelEvent]] = [[]]
    for event in events:
        if isinstance(event, CompactionEvent) and (role is None or event.role in (None, role)):
            found.append([])
        elif isinstance(event, ModelEvent):
            found[-1].append(event)
    return found


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
