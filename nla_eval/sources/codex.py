"""Transcripts from Codex's session files ("rollouts"): JSON lines {timestamp, type, payload}; the `response_item`s are
what the model read and wrote. Older files hold the items themselves, after a line about the session.

The family is the session. A compaction ends a transcript and begins the next one, with what the model saw from there.
Turns that were rolled back are left out and counted, or with `branches` "all" read as transcripts of their own. Events
repeat the items for the screen; of them only raw reasoning, which the items lack, is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._base import Branches, Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, make_transcript
from ._calls import tool_infos
from ._json import json_records
from ._messages import chat_messages
from ._probe import Container, Probe
from ._responses import add_items, is_item
from ._source import SOURCES, Source
from ._turns import Turns, text_of

_LINES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
_CONTEXT = (
    *("<user_instructions", "<environment_context", "<turn_aborted", "<skill", "<user_shell_command"),
    *("# AGENTS.md instructions", "<permissions", "<subagent_notification", "<collaboration_mode"),
)
"""How messages begin that the program writes in the user's place."""
_RAW = "agent_reasoning_raw_content"


@dataclass
class _Session:
    """What has been read of one file."""

    id: str
    items: list[dict[str, Any]] = field(default_factory=list)
    """What is in the model's context now."""
    instructions: str = ""
    model: str | None = None
    tools: Any = None
    subagent: bool = False
    known: bool = False
    """Whether its first line was read; a forked session repeats that of the one it comes from."""


@dataclass(frozen=True)
class _Stretch:
    """Items that were in the model's context together, and why they ended."""

    items: list[dict[str, Any]]
    model: str | None
    rolled_back: bool = False


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    session = _Session(path.name.removesuffix(".gz").removesuffix(".jsonl"))
    stretches: list[_Stretch] = []
    for record in json_records(path, options):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            stretches += _line(record, session, options)
        except RecordError as error:
            yield Skipped(record.where, str(error))
    stretches.append(_Stretch(session.items, session.model))
    wanted = [s for s in stretches if s.items and (not s.rolled_back or options.branches is Branches.ALL)]
    for number, stretch in enumerate(wanted, start=1):
        try:
            yield make_transcript(_fields(session, stretch, number, len(wanted), options), options, path.name)
        except RecordError as error:
            yield Skipped(f"{path.name} stretch {number}", str(error))
    if not wanted:
        yield Skipped(path.name, "no items in this session")


def _line(record: Record, session: _Session, options: SourceOptions) -> list[_Stretch]:
    """Take a line into the session; a compaction or a roll-back gives what ended with it."""
    value = record.value
    if not isinstance(value, Mapping):
        raise RecordError("not a JSON object")
    kind, payload = value.get("type"), value.get("payload")
    if kind in _LINES and not isinstance(payload, Mapping):
        raise RecordError(f"a line of type '{kind}' without a payload")
    if kind == "response_item" and isinstance(payload, Mapping):
        _item(payload, session)
    elif kind == "compacted" and isinstance(payload, Mapping):
        return _compacted(payload, session)
    elif kind == "event_msg" and isinstance(payload, Mapping):
        return _event(payload, session, options)
    elif kind == "turn_context" and isinstance(payload, Mapping):
        session.model = as_text(payload["model"]) if payload.get("model") else session.model
    elif kind == "session_meta" and isinstance(payload, Mapping):
        _opened(payload, session)
    elif is_item(value) or "role" in value:
        _item(value, session)
    elif "timestamp" in value and "id" in value:
        _opened(value, session)
    elif value.get("record_type") != "state":
        options.notes.hold(f"lines of type {as_text(kind)}", value)
    return []


def _opened(payload: Mapping[str, Any], session: _Session) -> None:
    """The line about the session. The first counts: those after it are of the sessions it was forked from."""
    if session.known:
        return
    session.known = True
    if payload.get("id"):
        session.id = as_text(payload["id"])
    session.instructions = text_of(payload.get("base_instructions")) or text_of(payload.get("instructions"))
    session.tools = payload.get("dynamic_tools")
    session.subagent = isinstance(payload.get("source"), Mapping) and "subagent" in payload["source"]


def _item(item: Mapping[str, Any], session: _Session) -> None:
    """Take an item into the context. Raw reasoning of the event before it is given once."""
    add_items(Turns(), [item])  # an item of an unknown type is its line's reason, not the session's
    last = session.items[-1] if session.items else {}
    if item.get("type") == "reasoning" and last.get(_RAW):
        if not text_of(item.get("content")):
            item = {**item, "content": last["content"]}
        session.items.pop()
    session.items.append(dict(item))


def _event(payload: Mapping[str, Any], session: _Session, options: SourceOptions) -> list[_Stretch]:
    kind = payload.get("type")
    if kind == "thread_rolled_back":
        turns = payload.get("num_turns")
        return _rolled_back(turns if isinstance(turns, int) else 0, session, options)
    if kind == _RAW and isinstance(payload.get("text"), str):
        last = session.items[-1] if session.items else {}
        words = {"type": "reasoning_text", "text": payload["text"]}
        if last.get(_RAW):
            last["content"].append(words)
        elif last.get("type") == "reasoning" and payload["text"] not in (held := text_of(last.get("content"))):
            last["content"] = [*([{"type": "text", "text": held}] if held else []), words]
        elif last.get("type") != "reasoning":
            session.items.append({"type": "reasoning", "content": [words], _RAW: True})
        return []
    options.notes.count("events of the screen, which repeat the items")
    return []


def _compacted(payload: Mapping[str, Any], session: _Session) -> list[_Stretch]:
    """A summary takes the place of what was in the context: as the line says, else users' messages and the summary."""
    ended = _Stretch(session.items, session.model)
    replaced = payload.get("replacement_history")
    if isinstance(replaced, list):
        add_items(Turns(), replaced)
        session.items = [dict(item) for item in replaced]
        return [ended]
    kept = [item for item in session.items if item.get("role") in ("user", "developer", "system")]
    summary = payload.get("message")
    if isinstance(summary, str) and summary:
        kept.append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": summary}]})
    session.items = kept
    return [ended]


def _rolled_back(turns: int, session: _Session, options: SourceOptions) -> list[_Stretch]:
    """Take back the last turns, each from a message of the user's own on."""
    starts = [number for number, item in enumerate(session.items) if _is_users(item)]
    if turns < 1 or not starts:
        return []
    at = starts[-turns] if turns <= len(starts) else starts[0]
    ended = _Stretch(session.items, session.model, rolled_back=True)
    if options.branches is Branches.BEST:
        options.notes.count("items that were rolled back (--branches all reads them)", len(session.items) - at)
    session.items = session.items[:at]
    return [ended]


def _is_users(item: Mapping[str, Any]) -> bool:
    return item.get("role") == "user" and not text_of(item.get("content")).lstrip().startswith(_CONTEXT)


def _fields(session: _Session, stretch: _Stretch, number: int, count: int, options: SourceOptions) -> Fields:
    turns = Turns()
    if session.instructions:
        turns.add("system", session.instructions)
    add_items(turns, stretch.items)
    transcript_id = f"{session.id}/{number}" if count > 1 else session.id
    return Fields(
        id=transcript_id,
        messages=chat_messages(turns.messages, transcript_id, options.roles),
        family=session.id,
        model=stretch.model,
        variant="subagent" if session.subagent else None,
        tools=tool_infos(
            [t for t in session.tools if isinstance(t, Mapping)] if isinstance(session.tools, list) else None
        ),
        metadata={"stretch": f"{number} of {count}" if count > 1 else None},
        turn_facts=turns.facts,
    )


def _fits(probe: Probe) -> bool:
    if probe.container is not Container.LINES:
        return False
    if any(r.get("type") in _LINES and isinstance(r.get("payload"), dict) for r in probe.records):
        return True
    first, rest = probe.first, probe.records[1:]
    old = {"id", "timestamp"} <= set(first) and not is_item(first) and "role" not in first
    return old and any(map(is_item, rest))


read = SOURCES.register("codex")(Source("codex", "a session file of Codex, or a folder of them", _read, _fits))
