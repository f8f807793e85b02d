"""Transcripts from runs as LangSmith and LangChain's tracers write them: {run_type, inputs, outputs}, with runs below
them or in rows of their own. Messages are LangChain's dumps or plain chat messages. The family is the trace.

Each call of a model repeats the conversation so far. Of the runs of one trace that stand together, those are left out
whose messages another one begins with; they, and runs without messages (tools, retrievers), are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from ._base import Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._beside import FURTHER, with_system
from ._calls import tool_infos
from ._json import json_records
from ._messages import chat_messages
from ._probe import Container, Probe
from ._shapes import is_message
from ._source import SOURCES, Source
from ._stops import stopped
from ._turns import STOP_KEYS

_MODELS = ("llm", "chat_model")
_MESSAGES = ("messages", "input", "chat_history", "output")
_ANSWERS = ("generations", "choices")
_SETTINGS = ("model", "llm_output", "run", "type", "object", "id", "usage", "created", "system_fingerprint", "tools")
"""Keys of inputs and outputs that hold no words of the conversation."""
_TRACES = ("trace_id", "root_run_id")
_MODEL_NAMES = ("extra.metadata.ls_model_name", "extra.invocation_params.model", "extra.invocation_params.model_name")
_READ = (
    *("id", "name", "run_type", "inputs", "outputs", "trace_id", "root_run_id", "parent_run_id", "parent_run_ids"),
    *("child_runs", "child_run_ids", "session_id", "start_time", "end_time", "dotted_order", "extra", "status"),
    *("reference_example_id", "app_path", "tags", "first_token_time", "serialized", "events", "manifest_id"),
)


_Read = dict[str, set[str]]
"""Keys that were read, of a run's inputs and of its outputs."""


class _Run:
    """A run with messages."""

    def __init__(self, where: str, value: Mapping[str, Any], trace: str, messages: list[Any], read: _Read) -> None:
        self.where, self.value, self.trace, self.messages = where, value, trace, messages
        self.read = read


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    for trace, group in groupby(json_records(path, options), key=_trace):
        runs: list[_Run] = []
        for record in group:
            if isinstance(record, Skipped):
                yield record
            elif not isinstance(record.value, Mapping):
                yield Skipped(record.where, "not a JSON object")
            else:
                runs += _runs(record, trace, options)
        kept = [run for run in runs if not any(_goes_on(other, run) for other in runs)]
        options.notes.count("runs whose conversation another run goes on with", len(runs) - len(kept))
        for run in kept:
            _note_unread(run, options)
            try:
                yield make_transcript(_fields(run, options), options, path.name)
            except RecordError as error:
                yield Skipped(run.where, str(error))


def _trace(record: Record | Skipped) -> str:
    if isinstance(record, Skipped) or not isinstance(record.value, Mapping):
        return ""
    value = record.value
    named = next((value[key] for key in _TRACES if value.get(key)), value.get("id"))
    return f"line-{record.number}" if named is None else as_text(named)


def _runs(record: Record, trace: str, options: SourceOptions) -> Iterator[_Run]:
    """The record's run and those below it that hold messages."""
    waiting: list[Any] = [record.value]
    number = 0
    while waiting:
        value = waiting.pop(0)
        number += 1
        if not isinstance(value, Mapping):
            continue
        options.notes.left(value, _READ)
        below = value.get("child_runs")
        waiting += below if isinstance(below, list) else []
        inputs = value.get("inputs")
        read: _Read = {"inputs": set(), "outputs": set()}
        given, answer = _held(inputs, read["inputs"]), _held(value.get("outputs"), read["outputs"])
        messages = answer if given and answer[: len(given)] == given else [*given, *answer]
        where = record.where if number == 1 else f"{record.where} run {number}"
        if messages:
            messages = with_system(inputs, messages, read["inputs"]) if isinstance(inputs, Mapping) else messages
            yield _Run(where, value, trace, messages, read)
        else:
            options.notes.count(f"runs of type '{as_text(value.get('run_type'))}' without messages")


def _goes_on(other: _Run, run: _Run) -> bool:
    """Whether `other` begins with all of `run`'s messages; of equal ones the first stays."""
    if other is run or len(other.messages) < len(run.messages) or other.messages[: len(run.messages)] != run.messages:
        return False
    return len(other.messages) > len(run.messages) or _before(other, run)


def _before(other: _Run, run: _Run) -> bool:
    """Of two runs with the same messages a model's own call comes first, then the one that was written first."""
    mine, its = (value.value.get("run_type") not in _MODELS for value in (run, other))
    return its < mine or (its == mine and other.where < run.where)


def _held(value: Any, read: set[str]) -> list[Any]:
    """The messages that inputs or outputs hold: a list, a list of one list, generations, or a message. `read` grows by
    the keys that were used."""
    if not isinstance(value, Mapping):
        return []
    for key in _ANSWERS:
        first = next(iter(_answers(value.get(key))), None)
        if isinstance(first, Mapping) and is_message(first.get("message")):
            read.add(key)
            return [first["message"]]
        if isinstance(first, Mapping) and isinstance(first.get("text"), str):
            read.add(key)
            return [{"role": "assistant", "content": first["text"]}]
    if is_message(value):
        read.update(map(str, value))
        return [value]
    for key in _MESSAGES:
        held = value.get(key)
        if isinstance(held, list) and held and isinstance(held[0], list):
            held = held[0]
        if isinstance(held, Mapping):
            held = [held] if is_message(held) else held.get("messages")
        if isinstance(held, list) and held and all(map(is_message, held)):
            read.add(key)
            return list(held)
    return []


def _answers(value: Any) -> list[Any]:
    """Generations, also in a list of one list of them, or choices; the first is read."""
    held = value if isinstance(value, list) else []
    return held[0] if held and isinstance(held[0], list) else held


def _note_unread(run: _Run, options: SourceOptions) -> None:
    for side, read in run.read.items():
        value = run.value.get(side)
        if not isinstance(value, Mapping):
            continue
        options.notes.left(value, (*read, *_SETTINGS), f"{side}.")
        for key in _ANSWERS:
            options.notes.count(FURTHER, max(0, len(_answers(value.get(key))) - 1))


def _ended(run: _Run) -> Mapping[str, Any]:
    """What stands around the answer and says why it ended."""
    outputs = run.value.get("outputs")
    if not isinstance(outputs, Mapping):
        return {}
    first = next((held[0] for key in _ANSWERS if (held := _answers(outputs.get(key)))), None)
    info = lookup(first, "generation_info")
    return next((held for held in (first, info) if isinstance(held, Mapping) and held.keys() & STOP_KEYS), {})


def _fields(run: _Run, options: SourceOptions) -> Fields:
    value = run.value
    transcript_id = as_text(value.get("id") or run.where)
    family = lookup(value, options.family_key) if options.family_key else None
    outcome = lookup(value, options.outcome_key) if options.outcome_key else None
    model = next((found for key in _MODEL_NAMES if (found := lookup(value, key))), None)
    return Fields(
        id=transcript_id,
        messages=chat_messages(run.messages, transcript_id, options.roles, options.notes),
        family=run.trace if family is None else as_text(family),
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        tools=tool_infos(_functions(lookup(value, "extra.invocation_params.tools"))),
        metadata={
            "run": value.get("name"),
            "error": value.get("error"),
            "dataset_example": value.get("reference_example_id"),
        },
        turn_facts=stopped(run.messages, options.roles, _ended(run)),
    )


def _functions(tools: Any) -> Any:
    if not isinstance(tools, list):
        return None
    return [
        tool
        for tool in tools
        if isinstance(tool, Mapping)
        and isinstance(tool.get("function", tool), Mapping)
        and "name" in tool.get("function", tool)
    ]


def _is_run(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("run_type"), str) and isinstance(record.get("inputs"), Mapping)


def _fits(probe: Probe) -> bool:
    containers = (Container.LINES, Container.LIST, Container.OBJECT)
    return probe.container in containers and any(map(_is_run, probe.records))


read = SOURCES.register("langsmith")(Source("langsmith", "runs of LangSmith or LangChain's tracers", _read, _fits))
