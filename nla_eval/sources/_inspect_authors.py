"""Who wrote each assistant turn of a conversation in an Inspect log, and why it ended: from the log's model events.

A turn is the measured role's own only where a call of that role, made by its own agent, gave it as its answer. What
no call gave was put there: few-shot answers, prefills, injected turns. What another role's, model's or agent's call
gave is another agent's. It knows nothing of targets: whether the measured role is one is decided where the target is
known."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.event import Event, ModelEvent, SpanBeginEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ContentReasoning

from ..models.model_ids import same_model
from ..transcript import Author, TurnFacts

MAIN = "main"
"""Names the log's main model, which has no role, where a role is asked for."""
TARGET_ROLE = "target"
"""The role that is read where a log has it and nothing else was asked for."""

_ELSEWHERE = frozenset({"tool", "handoff"})
"""Spans in which another agent may speak."""
_SCORERS = frozenset({"scorers", "scorer"})


@dataclass(frozen=True)
class Measured:
    """Whose conversation is read."""

    role: str | None
    """None: the log's main model."""
    model: str | None

    @property
    def name(self) -> str:
        """For metadata and messages."""
        return self.role or MAIN

    def made(self, call: ModelEvent) -> bool:
        """Whether a call is of this role; of the main model, also of its name."""
        return call.role == self.role and (self.role is not None or same_model(call.model, self.model))


@dataclass(frozen=True)
class Answer:
    """One answer of one call."""

    message: ChatMessageAssistant
    stop: str
    own: bool
    """Given by the measured role's own agent."""
    call: ModelEvent


def measured(sample: EvalSample, header: Mapping[str, Any], asked: str | None) -> Measured:
    """Whose conversation is read of a sample.

    Args:
        sample: With its events.
        header: What the log says of all samples: "model", "model_roles".
        asked: `SourceOptions.model_role`; None: the role "target" where the log has one, else the main model.
    """
    calls = model_calls(sample.events)
    roles = {call.role for call in calls if call.role} | {*(header.get("model_roles") or {})}
    role = asked if asked is not None else TARGET_ROLE if TARGET_ROLE in roles else None
    if role == MAIN and MAIN not in roles:
        role = None
    if role is not None:
        return Measured(role, next((call.model for call in reversed(calls) if call.role == role), None))
    return _main(calls, sample, header.get("model"))


def role_calls(events: Sequence[Event]) -> dict[str, int]:
    """Calls by model role, "main" for those without one; "main (name)" for each where several models have none."""
    calls = model_calls(events)
    models = {call.model for call in calls if call.role is None}
    names = (call.role or (MAIN if len(models) < 2 else f"{MAIN} ({call.model})") for call in calls)
    return dict(Counter(names).most_common())


def model_calls(events: Sequence[Event]) -> list[ModelEvent]:
    """The calls that gave an answer."""
    return [event for event in events if isinstance(event, ModelEvent) and not event.output.empty]


def answers(events: Sequence[Event], of: Measured) -> list[Answer]:
    """Every answer given outside scorers, in order, and whose it is."""
    spans = {event.id: event for event in events if isinstance(event, SpanBeginEvent)}
    leading: dict[str, tuple[str, ...]] = {}
    found = []
    for call in model_calls(events):
        path = list(_path(spans, call.span_id))
        kinds = {span.type for span in path}
        if kinds & _SCORERS:
            continue
        own = of.made(call) and not kinds & _ELSEWHERE
        if own:  # within one solver the agent that speaks first leads; agents it runs have names of their own
            solver = next((span.id for span in reversed(path) if span.type == "solver"), "")
            agents = tuple(span.name for span in path if span.type == "agent")
            own = leading.setdefault(solver, agents) == agents
        found += [Answer(choice.message, choice.stop_reason, own, call) for choice in call.output.choices]
    return found


def turn_facts(messages: Sequence[ChatMessage], given: Sequence[Answer]) -> tuple[TurnFacts, ...]:
    """Of each assistant message, in order.

    Args:
        messages: A conversation of the sample.
        given: `answers`. Without any the log kept no calls, and a message's own `source` has to do.
    """
    turns = [message for message in messages if isinstance(message, ChatMessageAssistant)]
    if not given:
        return tuple(TurnFacts(author=_by_source(turn)) for turn in turns)
    by_id = {answer.message.id: answer for answer in given if answer.message.id}
    found = [by_id.get(turn.id or "") for turn in turns]
    taken = {id(answer) for answer in found if answer}
    by_words: dict[tuple[Any, ...], list[Answer]] = defaultdict(list)
    for answer in given:
        if id(answer) not in taken:
            by_words[_words(answer.message)].append(answer)
    facts = []
    for turn, named in zip(turns, found, strict=True):
        match = named or _by_words(turn, by_words.get(_words(turn), []))
        if match is None or not _said(turn, match.message) or _continued(turn, match, by_id):
            facts.append(TurnFacts(author=Author.GIVEN))
        else:
            facts.append(TurnFacts(author=Author.LOGGED if match.own else Author.AGENT, stop=match.stop))
    return tuple(facts)


def _main(calls: Sequence[ModelEvent], sample: EvalSample, model: str | None) -> Measured:
    """The header's model; where it made no call (it is "none/none", or a solver picks its own), whoever spoke most."""
    alone = [call for call in calls if call.role is None]
    if not calls or any(same_model(call.model, model) for call in alone):
        return Measured(None, model)
    if alone:
        return Measured(None, Counter(call.model for call in alone).most_common(1)[0][0])
    said = {message.id for message in sample.messages}
    speakers = Counter((c.role, c.model) for c in calls if any(x.message.id in said for x in c.output.choices))
    return Measured(*speakers.most_common(1)[0][0]) if speakers else Measured(None, model)


def _path(spans: Mapping[str, SpanBeginEvent], span_id: str | None) -> Iterator[SpanBeginEvent]:
    """The spans around an event, innermost first."""
    seen: set[str] = set()
    while span_id is not None and span_id in spans and span_id not in seen:
        seen.add(span_id)
        yield spans[span_id]
        span_id = spans[span_id].parent_id


def _by_source(turn: ChatMessageAssistant) -> Author:
    if turn.source == "generate":
        return Author.LOGGED
    return Author.GIVEN if turn.source == "input" else Author.RECORDED


def _by_words(turn: ChatMessageAssistant, alike: list[Answer]) -> Answer | None:
    """The first answer of these words that no turn has; an answer is none that its own call had read."""
    if turn.source == "input":
        return None
    for number, answer in enumerate(alike):
        if turn.id is None or all(turn.id != message.id for message in answer.call.input):
            return alike.pop(number)
    return None


def _continued(turn: ChatMessageAssistant, answer: Answer, given: Mapping[str, Answer]) -> bool:
    """Whether a turn begins with the prefill that its call was given: not all of it is the model's."""
    before = answer.call.input[-1] if answer.call.input else None
    if not isinstance(before, ChatMessageAssistant) or before.id in given or not _flat(before.text):
        return False
    return _flat(turn.text).startswith(_flat(before.text))


def _words(message: ChatMessageAssistant) -> tuple[Any, ...]:
    return (_flat(message.text), tuple((call.function, str(call.arguments)) for call in message.tool_calls or ()))


def _said(turn: ChatMessageAssistant, answer: ChatMessageAssistant) -> bool:
    """Whether a turn holds no words that its answer does not.

    A scaffold may cut an answer, or copy its thinking or what it submits into the text. A prefill joined to the answer,
    or other words under its id, are not the model's. A hand-off puts its agent's name in front.
    """
    text, spoken = re.sub(r"^\[[^\]\n]{1,80}\] ", "", _flat(turn.text)), _flat(answer.text)
    if text in spoken or _flat(turn.text) in spoken:
        return True
    rest = _flat(text.replace(spoken, " ", 1) if spoken else text)
    return rest in _flat(" ".join(_beside(answer)))


def _beside(answer: ChatMessageAssistant) -> Iterable[str]:
    """What an answer says outside its text."""
    if not isinstance(answer.content, str):
        for part in answer.content:
            if isinstance(part, ContentReasoning):
                yield f"{part.reasoning} {part.summary or ''}"
    for call in answer.tool_calls or ():
        yield from (str(value) for value in call.arguments.values())


def _flat(text: str) -> str:
    return " ".join(re.sub(r"</?think(?:ing)?>", " ", text).split())
