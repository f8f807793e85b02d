"""Transcripts from trajectories of SWE-agent (`.traj`: history, trajectory, info) and mini-swe-agent (`.traj.json`:
messages, info): one file, one run. The family is the task's instance, the outcome how it ended (`info.exit_status`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._base import Fields, Item, RecordError, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._calls import tool_infos
from ._json import GZIP_DAMAGE, opened
from ._messages import chat_messages
from ._notes import BOOKKEEPING
from ._probe import Container, Probe
from ._source import SOURCES, Source

_FILES_PER_RECORD = 4
"""A trajectory repeats its messages in each step, so its file may be larger than a record's limit by this factor."""
_KEPT = (
    *("role", "content", "tool_calls", "tool_call_ids", "tool_call_id", "name"),
    *("reasoning_content", "thinking_blocks", "reasoning", "reasoning_details", "refusal"),
)
_OF_MESSAGES = BOOKKEEPING | {*_KEPT, "agent", "message_type", "is_demo", "thought", "action", "tags"}
_RUN = frozenset(
    ("history", "messages", "trajectory", "trajectory_format", "info", "instance_id", "environment", "replay_config")
)
_INFO = ("exit_status", "submission", "model_stats", "mini_version", "swe_agent_version", "swe_agent_hash")


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    try:
        run = _loaded(path, options)
        agents = _agents(run)
        for agent, messages in agents.items():
            yield make_transcript(
                _fields(path, run, agent if len(agents) > 1 else "", messages, options), options, path.name
            )
    except RecordError as error:
        yield Skipped(path.name, str(error))


def _loaded(path: Path, options: SourceOptions) -> Mapping[str, Any]:
    limit = _FILES_PER_RECORD * options.max_record_bytes
    try:
        with opened(path) as file:
            data = file.read(limit + 1)
    except GZIP_DAMAGE:
        raise RecordError("damaged gzip") from None
    if len(data) > limit:
        raise RecordError(f"over {limit / 1e6:.0f} MB ({_FILES_PER_RECORD} x max_record_mb)")
    try:
        run = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RecordError("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {getattr(error, 'msg', 'nested too deeply')}") from None
    if not isinstance(run, Mapping):
        raise RecordError("not a trajectory: no JSON object")
    return run


def _agents(run: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Messages by the agent that saw them; older files name none."""
    raw = run.get("history", run.get("messages"))
    if not isinstance(raw, list):
        raise RecordError("not a trajectory: neither 'history' nor 'messages' is a list")
    found: dict[str, list[Any]] = {}
    for message in raw:
        agent = message.get("agent") if isinstance(message, Mapping) else None
        found.setdefault(str(agent or "main"), []).append(message)
    return found


def _fields(path: Path, run: Mapping[str, Any], agent: str, messages: list[Any], options: SourceOptions) -> Fields:
    name = path.name.removesuffix(".json").removesuffix(".traj")
    transcript_id = f"{name}/{agent}" if agent else name
    _note_unread(run, messages, options)
    instance = lookup(run, options.family_key or "instance_id") or lookup(run, "info.instance_id")
    outcome = lookup(run, options.outcome_key or "info.exit_status")
    model = lookup(run, "info.config.model.model_name") or lookup(run, "replay_config.agent.model.name")
    return Fields(
        id=transcript_id,
        messages=chat_messages(
            [_shaped(m) for m in messages], transcript_id, {"exit": "user", **options.roles}, options.notes
        ),
        family=name if instance is None else as_text(instance),
        family_from="the file" if instance is None else "the instance",
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        tools=tool_infos(lookup(run, "info.tools")),
        metadata={
            "agent": agent or None,
            "demonstrations": str(sum(isinstance(m, Mapping) and bool(m.get("is_demo")) for m in messages)),
        },
    )


def _note_unread(run: Mapping[str, Any], messages: list[Any], options: SourceOptions) -> None:
    """Steps repeat what messages say, and thought and action are parsed from the content: those are no other words."""
    options.notes.left(run, _RUN)
    info = run.get("info")
    if isinstance(info, Mapping):
        options.notes.left(info, {*_INFO, "config", "instance_id", "tools"}, "info.")
    for message in messages:
        if isinstance(message, Mapping) and not message.keys() <= _OF_MESSAGES:
            options.notes.left(message, _OF_MESSAGES, "messages[].")


def _shaped(message: Any) -> Any:
    """SWE-agent keeps thought and action beside the content they were parsed from; only the content was said."""
    if not isinstance(message, Mapping):
        return message
    return {key: message[key] for key in _KEPT if message.get(key) is not None}


def _fits(probe: Probe) -> bool:
    if probe.container not in (Container.OBJECT, Container.LINES):
        return False
    keys, info = probe.columns, probe.first.get("info")
    if str(probe.first.get("trajectory_format", "")).startswith("mini-swe-agent"):
        return True
    full = "trajectory" in keys and bool({"history", "environment", "info"} & keys)
    return full or ("messages" in keys and isinstance(info, Mapping) and any(key in info for key in _INFO))


read = SOURCES.register("swe_agent")(
    Source("swe_agent", "a trajectory of SWE-agent (.traj) or mini-swe-agent (.traj.json)", _read, _fits, (".traj",))
)
