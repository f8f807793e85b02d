"""Transcripts from ATIF trajectories (Agent Trajectory Interchange Format, as Harbor writes them): {schema_version,
session_id, agent, steps}. Trajectories of sub-agents that stand inside are transcripts of their own, of one family.

A result that names no call comes from the environment: the model reads it as a user's message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._base import Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._calls import tool_infos
from ._json import json_records
from ._messages import chat_messages
from ._probe import Container, Probe
from ._source import SOURCES, Source
from ._turns import Turns, stop_of

_VERSION = "ATIF-"
_ROOT_READ = (
    "schema_version",
    "session_id",
    "trajectory_id",
    "agent",
    "steps",
    "final_metrics",
    "subagent_trajectories",
)
_STEP_READ = (
    *("step_id", "timestamp", "source", "model_name", "reasoning_effort", "message", "reasoning_content"),
    *("tool_calls", "observation", "metrics", "is_copied_context", "llm_call_count"),
)
_RESULT_READ = ("source_call_id", "content", "subagent_trajectory_ref")
_CALL_READ = ("tool_call_id", "function_name", "arguments")
_AGENT_READ = ("name", "version", "model_name", "tool_definitions")
_STOPS = ("extra.finish_reason", "extra.stop_reason", "metrics.extra.finish_reason", "metrics.extra.stop_reason")


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    for record in json_records(path, options):
        if isinstance(record, Skipped):
            yield record
            continue
        name = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
        yield from _transcripts(record, name, options, path.name)


def _transcripts(record: Record, name: str, options: SourceOptions, source: str) -> Iterator[Item]:
    family: str | None = None
    for number, run in enumerate(_runs(record.value)):
        where = record.where if number == 0 else f"{record.where} sub-agent {number}"
        try:
            found = _fields(run, name if number == 0 else f"{name}/{number}", family, options)
            family = family or found.family
            yield make_transcript(found, options, source)
        except RecordError as error:
            yield Skipped(where, str(error))


def _runs(value: Any) -> Iterator[Any]:
    """A trajectory, then those of its sub-agents, at any depth."""
    waiting = [value]
    while waiting:
        run = waiting.pop(0)
        yield run
        below = run.get("subagent_trajectories") if isinstance(run, Mapping) else None
        waiting += below if isinstance(below, list) else []


def _fields(run: Any, name: str, family: str | None, options: SourceOptions) -> Fields:
    steps = run.get("steps") if isinstance(run, Mapping) else None
    if not isinstance(steps, list):
        raise RecordError("not an ATIF trajectory: 'steps' is not a list")
    agent = run.get("agent") if isinstance(run.get("agent"), Mapping) else {}
    turns, models = Turns(), []
    for number, step in enumerate(steps):
        if not isinstance(step, Mapping):
            raise RecordError(f"step {number} is not an object")
        _step(turns, step, number)
        if step.get("source") == "agent" and step.get("model_name"):
            models.append(step["model_name"])
        _note_unread(step, options)
    copied = sum(isinstance(step, Mapping) and step.get("is_copied_context") is True for step in steps)
    options.notes.count("steps copied from an earlier trajectory", copied)
    options.notes.left(run, _ROOT_READ)
    options.notes.left(agent, _AGENT_READ, "agent.")
    given = lookup(run, options.id_key) if options.id_key else run.get("trajectory_id") or run.get("session_id")
    transcript_id = name if given is None else as_text(given)
    named = lookup(run, options.family_key or "family")
    outcome = lookup(run, options.outcome_key or "outcome")
    model = models[-1] if models else agent.get("model_name")
    return Fields(
        id=transcript_id,
        messages=chat_messages(turns.messages, transcript_id, options.roles),
        family=as_text(named) if named is not None else family or transcript_id,
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        variant=None if family is None else "subagent",
        tools=tool_infos(agent.get("tool_definitions")),
        metadata={
            "agent": agent.get("name"),
            "agent_version": agent.get("version"),
            "session_id": run.get("session_id"),
        },
        turn_facts=turns.facts,
    )


def _step(turns: Turns, step: Mapping[str, Any], number: int) -> None:
    source, message = step.get("source"), step.get("message")
    if source == "agent":
        _agent(turns, step, message, number)
    elif source in ("system", "user"):
        turns.add(str(source), message if message is not None else "")
    else:
        raise RecordError(f"step {number} has the unknown source '{source}'; expected system, user or agent")
    observation = step.get("observation")
    results = observation.get("results") if isinstance(observation, Mapping) else None
    for result in results if isinstance(results, list) else []:
        if not isinstance(result, Mapping):
            raise RecordError(f"step {number}: a result is not an object")
        content = result.get("content")
        if content is None:
            content = as_text(result["subagent_trajectory_ref"]) if result.get("subagent_trajectory_ref") else ""
        if result.get("source_call_id") is None:
            turns.add("user", content)
        else:
            turns.result(as_text(result["source_call_id"]), content)


def _note_unread(step: Mapping[str, Any], options: SourceOptions) -> None:
    options.notes.left(step, _STEP_READ, "steps[].")
    for place, read in (("tool_calls", _CALL_READ), ("observation.results", _RESULT_READ)):
        held = lookup(step, place)
        for one in held if isinstance(held, list) else []:
            options.notes.left(one, read, f"steps[].{place}[].")


def _agent(turns: Turns, step: Mapping[str, Any], message: Any, number: int) -> None:
    turns.close()
    thinking = step.get("reasoning_content")
    if isinstance(thinking, str):
        turns.think(thinking)
    elif thinking is not None:
        raise RecordError(f"step {number}: 'reasoning_content' is not text")
    calls = step.get("tool_calls") or []
    if message or not (calls or thinking):
        turns.say("" if message is None else message)
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise RecordError(f"step {number}: 'tool_calls' is not a list of objects")
    for call in calls:
        call_id = call.get("tool_call_id")
        turns.call(None if call_id is None else as_text(call_id), call.get("function_name"), call.get("arguments"))
    stop = next((found for key in _STOPS if (found := stop_of(lookup(step, key)))), None)
    turns.ended(stop)


def _is_trajectory(record: Mapping[str, Any]) -> bool:
    return str(record.get("schema_version", "")).startswith(_VERSION) and "agent" in record


def _fits(probe: Probe) -> bool:
    containers = (Container.OBJECT, Container.LINES, Container.LIST)
    return probe.container in containers and any(map(_is_trajectory, probe.records))


read = SOURCES.register("atif")(Source("atif", "a trajectory of Harbor's or another agent's in ATIF", _read, _fits))
