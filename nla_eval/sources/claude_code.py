"""Transcripts from Claude Code's session files: JSON lines of type user or assistant, each naming its parent.

A file is a forest. Each root is a conversation of its own: the session's start, what followed a compaction (as the
model saw it: the summary, then the rest), a subagent's sidechain. `branches` "best" follows each to the branch written
last, "all" to every leaf. The family is the session. System prompt and tool definitions are not in these files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._base import Branches, Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, make_transcript
from ._json import json_records
from ._messages import chat_messages
from ._probe import Container, Probe
from ._source import SOURCES, Source

_TALK = ("user", "assistant")
_TYPES = (*_TALK, "system", "summary", "file-history-snapshot", "queue-operation", "progress", "attachment")


@dataclass(frozen=True)
class _Entry:
    """One line that stands in the forest."""

    uuid: str
    parent: str | None
    type: str
    message: Mapping[str, Any]
    sidechain: bool
    session: str
    by_client: bool
    """An error message that the program wrote in the assistant's place."""


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    entries: dict[str, _Entry] = {}
    for record in json_records(path, options):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            entry = _entry(record)
            if entry is not None and entry.uuid in entries:
                raise RecordError(f"a second line with the uuid '{entry.uuid}'")
            if entry is not None:
                entries[entry.uuid] = entry
        except RecordError as error:
            yield Skipped(record.where, str(error))
    yield from _transcripts(path.name, entries, options)


def _entry(record: Record) -> _Entry | None:
    """None for lines that are no part of a conversation: summaries of other sessions, snapshots, queues."""
    value = record.value
    if not isinstance(value, Mapping):
        raise RecordError("not a JSON object")
    kind, uuid = value.get("type"), value.get("uuid")
    if uuid is None and kind not in _TALK:
        return None
    message = value.get("message")
    if kind not in _TALK:
        message = {}
    if not isinstance(message, Mapping):
        raise RecordError(f"a line of type '{kind}' without a message")
    parent = value.get("parentUuid")
    return _Entry(
        uuid=f"line-{record.number}" if uuid is None else as_text(uuid),
        parent=None if parent is None else as_text(parent),
        type=as_text(kind),
        message=message,
        sidechain=bool(value.get("isSidechain")),
        session=as_text(value.get("sessionId") or "session"),
        by_client=bool(value.get("isApiErrorMessage")),
    )


def _transcripts(name: str, entries: Mapping[str, _Entry], options: SourceOptions) -> Iterator[Item]:
    beside = _beside(entries)
    paths = [path for leaf in _leaves(entries, beside) if (path := _path(leaf, entries))]
    reached = {entry.uuid for path in paths for entry in path} | beside
    if len(reached) < len(entries):
        yield Skipped(name, f"{len(entries) - len(reached)} lines that are, or hang on, their own ancestors")
    for number, (path, left_out) in enumerate(_chosen(paths, entries, options.branches), start=1):
        try:
            yield make_transcript(_fields(number, path, entries, left_out, options), options, name)
        except RecordError as error:
            yield Skipped(f"{name} conversation {number}", str(error))


def _chosen(
    paths: list[list[_Entry]], entries: Mapping[str, _Entry], branches: Branches
) -> Iterator[tuple[list[_Entry], int]]:
    """Of each root's branches all, or the one with the newest answer and how many others there are."""
    written = {uuid: number for number, uuid in enumerate(entries)}
    by_root: dict[str, list[list[_Entry]]] = {}
    for path in paths:
        if any(entry.type in _TALK for entry in path):
            by_root.setdefault(path[0].uuid, []).append(path)
    for found in by_root.values():
        if branches is Branches.ALL:
            yield from ((path, 0) for path in found)
        else:
            yield max(reversed(found), key=lambda path: _newest(path, written)), len(found) - 1


def _leaves(entries: Mapping[str, _Entry], beside: Set[str]) -> list[str]:
    parents = {entry.parent for uuid, entry in entries.items() if uuid not in beside}
    return [uuid for uuid in entries if uuid not in parents and uuid not in beside]


def _beside(entries: Mapping[str, _Entry]) -> set[str]:
    """Results of parallel tool calls: nothing follows them, and the conversation goes on beside them."""
    children = Counter(entry.parent for entry in entries.values())
    return {
        uuid
        for uuid, entry in entries.items()
        if entry.type == "user" and children[uuid] == 0 and children[entry.parent] > 1 and _results(entry)
    }


def _newest(path: list[_Entry], written: Mapping[str, int]) -> int:
    """When the last answer of a path was written: the line's number."""
    return max((written[entry.uuid] for entry in path if entry.type == "assistant"), default=-1)


def _path(leaf: str, entries: Mapping[str, _Entry]) -> list[_Entry]:
    """From the root, or from the first line whose parent is not in the file, to a leaf; empty for a circle."""
    path, met = [entries[leaf]], {leaf}
    while (parent := path[-1].parent) in entries and parent is not None:
        if parent in met:
            return []
        met.add(parent)
        path.append(entries[parent])
    return path[::-1]


def _fields(
    number: int, path: list[_Entry], entries: Mapping[str, _Entry], left_out: int, options: SourceOptions
) -> Fields:
    talk = [entry for entry in path if entry.type in _TALK]
    said = [entry for entry in _with_results(talk, entries) if not entry.by_client]
    transcript_id = f"{path[0].session}/{number}"
    models = [entry.message.get("model") for entry in said if entry.type == "assistant"]
    return Fields(
        id=transcript_id,
        messages=chat_messages(_merged(said), transcript_id, options.roles),
        family=path[0].session,
        model=as_text(models[-1]) if models and models[-1] is not None else None,
        variant="sidechain" if path[-1].sidechain else None,
        metadata={
            "client_errors_left_out": str(sum(entry.by_client for entry in talk)),
            "branches_left_out": str(left_out),
        },
    )


def _with_results(talk: list[_Entry], entries: Mapping[str, _Entry]) -> list[_Entry]:
    """The path with the results of parallel tool calls, which hang on it as branches of their own."""
    on_path = {entry.uuid for entry in talk}
    beside: dict[str, list[_Entry]] = {}
    for entry in entries.values():
        if entry.uuid not in on_path and entry.type == "user" and entry.parent in on_path and _results(entry):
            beside.setdefault(entry.parent or "", []).append(entry)
    answered = {call for entry in talk for call in _results(entry)}
    found: list[_Entry] = []
    waiting: list[_Entry] = []
    for entry in talk:
        if entry.type == "user":
            found.extend(waiting)
            waiting = []
        found.append(entry)
        for result in beside.get(entry.uuid, []):
            if not answered & _results(result):
                answered |= _results(result)
                waiting.append(result)
    return found + waiting


def _results(entry: _Entry) -> set[str]:
    content = entry.message.get("content")
    parts = content if isinstance(content, list) else []
    return {
        as_text(part.get("tool_use_id"))
        for part in parts
        if isinstance(part, Mapping) and part.get("type") == "tool_result"
    }


def _merged(said: list[_Entry]) -> list[Mapping[str, Any]]:
    """Messages; blocks of one answer, which are written as lines of one message id, are put together again."""
    found: list[dict[str, Any]] = []
    for entry in said:
        message = dict(entry.message)
        message.setdefault("role", entry.type)
        same = bool(found) and message.get("id") is not None and found[-1].get("id") == message["id"]
        if same and isinstance(found[-1].get("content"), list) and isinstance(message.get("content"), list):
            found[-1] = {**found[-1], "content": [*found[-1]["content"], *message["content"]]}
        else:
            found.append(message)
    return list(found)


def _fits(probe: Probe) -> bool:
    return probe.container is Container.LINES and any(
        record.get("type") in _TYPES and bool({"sessionId", "leafUuid", "snapshot"} & set(record))
        for record in probe.records
    )


read = SOURCES.register("claude_code")(
    Source("claude_code", "a session file of Claude Code, or a folder of them", _read, _fits)
)
