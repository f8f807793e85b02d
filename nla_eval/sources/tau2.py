"""Transcripts from results of tau2-bench: {info, tasks, simulations}, or one simulation a file. A simulation is a
transcript, the domain and task its family, its reward the outcome.

The transcript is what the agent saw: the domain's policy as its system prompt, and the messages, without those between
the simulated user and tools of its own, which are counted. The greeting that opens most simulations was written by the
program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..transcript import Author
from ._base import Fields, Item, RecordError, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._calls import tool_infos
from ._json import GZIP_DAMAGE, opened
from ._messages import chat_messages
from ._probe import Container, Probe
from ._source import SOURCES, Source
from ._turns import Turns, stop_of, text_of

_SIMULATION = ("termination_reason", "task_id")
_THINKING = ("raw_data.message.reasoning_content", "raw_data.choices.0.message.reasoning_content")
_STOPS = ("raw_data.finish_reason", "raw_data.choices.0.finish_reason")
_MESSAGE_READ = (
    *("role", "content", "tool_calls", "turn_idx", "timestamp", "cost", "usage", "raw_data", "id", "requestor"),
    *("error", "tool_messages", "source", "audio_format", "audio_path"),
)
_READ = (
    *("id", "task_id", "timestamp", "start_time", "end_time", "termination_reason", "messages", "mode", "policy"),
    *("reward_info", "info", "agent_usage", "trial", "seed"),
)


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    number = 0
    try:
        info = _info(path)
        for number, simulation in enumerate(_simulations(path), start=1):
            where = f"{path.name} simulation {number}"
            try:
                yield make_transcript(_fields(simulation, info, f"simulation-{number}", options), options, path.name)
            except RecordError as error:
                yield Skipped(where, str(error))
    except GZIP_DAMAGE as error:
        yield Skipped(path.name, f"damaged gzip, read up to the damage: {error}")
    except _damage():
        yield Skipped(path.name, f"not JSON, or cut off, after simulation {number}; the rest is not read")
    if not number:
        yield Skipped(path.name, "no simulations in it; where they lie in files of their own, give their folder")


def _damage() -> tuple[type[Exception], ...]:
    import ijson

    return (ijson.JSONError, UnicodeDecodeError, RecursionError, OverflowError)


def _info(path: Path) -> Mapping[str, Any]:
    """What holds for all simulations of the file."""
    import ijson

    with opened(path) as file:
        found = next(ijson.items(file, "info", use_float=True), None)
    return found if isinstance(found, Mapping) else {}


def _simulations(path: Path) -> Iterator[Any]:
    """One by one: results of many trials are too large to be held."""
    import ijson

    with opened(path) as file:
        whole = next(
            (key for prefix, _, key in ijson.parse(file) if prefix == "" and key in ("simulations", "messages")), ""
        )
    prefix = "simulations.item" if whole == "simulations" else ""
    with opened(path) as file:
        yield from ijson.items(file, prefix, use_float=True)


def _fields(simulation: Any, info: Mapping[str, Any], default_id: str, options: SourceOptions) -> Fields:
    if not isinstance(simulation, Mapping):
        raise RecordError("a simulation is not an object")
    messages = simulation.get("messages")
    if not isinstance(messages, list):
        kept = "only ticks of a spoken conversation" if simulation.get("ticks") else "no list"
        raise RecordError(f"'messages' is missing: {kept}")
    turns = Turns()
    policy = simulation.get("policy") or lookup(info, "environment_info.policy")
    if isinstance(policy, str) and policy:
        turns.add("system", policy)
    theirs: set[str] = set()
    for number, message in enumerate(messages):
        _message(turns, message, number, theirs, options)
    options.notes.left(simulation, _READ, "simulations[].")
    task, domain = simulation.get("task_id"), lookup(info, "environment_info.domain_name")
    own = as_text(simulation.get("id") or default_id)
    family = lookup(simulation, options.family_key) if options.family_key else task
    within = "" if options.family_key or domain is None else f"{as_text(domain)}/"
    outcome = lookup(simulation, options.outcome_key or "reward_info.reward")
    model = lookup(info, "agent_info.llm")
    return Fields(
        id=own,
        messages=chat_messages(turns.messages, own, options.roles),
        family=own if family is None else f"{within}{as_text(family)}",
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        tools=tool_infos(_functions(lookup(info, "environment_info.tool_defs"))),
        metadata={"trial": simulation.get("trial"), "termination_reason": simulation.get("termination_reason")},
        turn_facts=turns.facts,
    )


def _message(turns: Turns, message: Any, number: int, theirs: set[str], options: SourceOptions) -> None:
    """Put a message into `turns`; `theirs` grows by the ids of the simulated user's own calls."""
    if not isinstance(message, Mapping):
        raise RecordError(f"message {number} is not an object")
    users = as_text(message.get("id")) in theirs
    role, several = message.get("role"), message.get("tool_messages")
    options.notes.left(message, _MESSAGE_READ, "messages[].")
    if role == "tool" and isinstance(several, list):
        for one in several:
            _message(turns, {"role": "tool", **one} if isinstance(one, Mapping) else one, number, theirs, options)
    elif role == "tool":
        if (message.get("requestor") or ("user" if users else "")) == "user":
            options.notes.count("results of the simulated user's own tools, which the agent does not see")
        else:
            turns.result(message.get("id"), message.get("content") or "", failed=bool(message.get("error")))
    elif role == "user":
        if message.get("tool_calls"):
            options.notes.count("calls of the simulated user's own tools, which the agent does not see")
            theirs |= _ids(message["tool_calls"])
        if message.get("content") or not message.get("tool_calls"):
            turns.add("user", message.get("content") or "")
    elif role == "assistant":
        _assistant(turns, message, first=number == 0)
    elif role == "system":
        turns.add("system", message.get("content") or "")
    else:
        raise RecordError(f"message {number} has the unknown role '{role}'; expected system, user, assistant or tool")


def _ids(calls: Any) -> set[str]:
    held = calls if isinstance(calls, list) else []
    return {as_text(call["id"]) for call in held if isinstance(call, Mapping) and call.get("id")}


def _assistant(turns: Turns, message: Mapping[str, Any], *, first: bool) -> None:
    turns.close()
    calls = message.get("tool_calls") or []
    for key in _THINKING:
        if words := text_of(lookup(message, key)):
            turns.think(words)
            break
    if message.get("content") or not calls:
        turns.say(message.get("content") or "")
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise RecordError("'tool_calls' is not a list of objects")
    for call in calls:
        turns.call(as_text(call["id"]) if call.get("id") else None, call.get("name"), call.get("arguments"))
    scripted = first and not calls and not message.get("raw_data") and not message.get("usage")
    stop = next((found for key in _STOPS if (found := stop_of(lookup(message, key)))), None)
    turns.ended(stop, Author.GIVEN if scripted else Author.RECORDED)


def _functions(tools: Any) -> Any:
    """Definitions by name, or a list of them."""
    if isinstance(tools, Mapping):
        tools = list(tools.values())
    return [tool for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else None


def _fits(probe: Probe) -> bool:
    if probe.container not in (Container.OBJECT, Container.LINES) or len(probe.records) != 1:
        return False
    keys = probe.columns
    whole = {"info", "tasks"} <= keys and isinstance(probe.first.get("info"), dict)
    results = whole and bool({"environment_info", "agent_info", "user_info"} & set(probe.first["info"]))
    return results or {*_SIMULATION, "messages"} <= keys or {*_SIMULATION, "ticks"} <= keys


read = SOURCES.register("tau2")(Source("tau2", "results of tau2-bench, or a folder of its simulations", _read, _fits))
