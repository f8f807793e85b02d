"""Transcripts from Claude Code's session files: JSON lines of type user or assistant, each naming its parent.

A transcript is a context: what the model had before it from a beginning on (`_session_graph`). Beginnings are the
session's start, a compaction (then the summary, what was kept, and the rest), a clear, and a sub-agent's first line.
`branches` "best" follows each to the branch written last, "all" to every leaf. The family is the session. Every message
of a file is in exactly one transcript or in one counted reason; what a compaction kept stands in both contexts, under
the same message id. System prompt and tool definitions are not in these files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessage

from ._base import (
    Branches,
    Fields,
    Item,
    Record,
    RecordError,
    Skipped,
    SourceOptions,
    as_text,
    make_transcript,
    message_id,
)
from ._json import json_records
from ._messages import chat_messages
from ._notes import SourceNotes
from ._probe import Container, Probe
from ._session_graph import Context, Line, Preserved, Turn, graph_of, leaves, newest_leaf, path_to, turns_below
from ._source import SOURCES, Source
from ._stops import stopped

_TALK = ("user", "assistant")
_TYPES = (*_TALK, "system", "summary", "file-history-snapshot", "queue-operation", "progress", "attachment")
_CLEAR = re.compile(r"<command-name>/(?:clear|reset|new)</command-name>")
_PROGRAM = "<synthetic>"
"""The model that the program names where it wrote the assistant's words itself."""
_READ = frozenset(
    (
        *("type", "uuid", "parentUuid", "logicalParentUuid", "sessionId", "isSidechain", "agentId", "message"),
        *("isApiErrorMessage", "isMeta", "isCompactSummary", "isVisibleInTranscriptOnly", "compactMetadata", "subtype"),
        *("timestamp", "version", "cwd", "gitBranch", "userType", "requestId", "toolUseResult", "toolUseID", "slug"),
        *("parentToolUseID", "sourceToolAssistantUUID", "sourceToolUseID", "permissionMode", "thinkingMetadata"),
        *("todos", "entrypoint", "promptId", "level", "snapshot", "messageId", "leafUuid", "operation", "teamName"),
        *("agentName", "imagePasteIds", "origin", "isSnapshotUpdate", "durationMs", "hookInfos"),
    )
)
"""Keys of a line that are read, or are the program's own bookkeeping. `toolUseResult` is a result once more, as the
program got it; the model saw the one in the message."""


@dataclass(frozen=True)
class _Queued:
    """What a user wrote while the agent worked, as the program's queue has it."""

    number: int
    text: str
    after: str | None
    """The message before it in the file."""
    session: str


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    lines: dict[str, Line] = {}
    queue = _Queue()
    for record in json_records(path, options):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            line = _line(record, options.notes)
            if line is not None and line.uuid in lines:
                raise RecordError(f"a second line with the uuid '{line.uuid}'")
            if line is not None:
                lines[line.uuid] = line
            queue.met(record, line)
        except RecordError as error:
            yield Skipped(record.where, str(error))
    yield from _transcripts(path.name, [*lines.values(), *queue.sent()], options)


def _line(record: Record, notes: SourceNotes) -> Line | None:
    """None for lines that are no part of a conversation: summaries of other sessions, snapshots, queues."""
    value = record.value
    if not isinstance(value, Mapping):
        raise RecordError("not a JSON object")
    kind, uuid = value.get("type"), value.get("uuid")
    queued = _queued_command(value)
    if kind not in _TALK and queued is None:
        if kind != "queue-operation":
            notes.count(f"lines of type '{as_text(kind)}', which are no messages")
            notes.left(value, _READ, f"{as_text(kind)}.")
        if uuid is None:
            return None
    elif queued is None:
        notes.left(value, _READ)
    message = value.get("message") if kind in _TALK else queued or {}
    if not isinstance(message, Mapping):
        raise RecordError(f"a line of type '{kind}' without a message")
    parent = value.get("parentUuid")
    summary = kind == "user" and bool(value.get("isCompactSummary"))
    boundary = kind == "system" and value.get("subtype") == "compact_boundary"
    return Line(
        uuid=f"line-{record.number}" if uuid is None else as_text(uuid),
        number=record.number,
        parent=None if parent is None else as_text(parent),
        kind="user" if queued else as_text(kind),
        message=message,
        agent=as_text(value.get("agentId") or "sidechain") if value.get("isSidechain") else "",
        session=as_text(value.get("sessionId") or "session"),
        by_client=bool(value.get("isApiErrorMessage")) or message.get("model") == _PROGRAM,
        aside=queued is not None or (kind == "user" and bool(value.get("isMeta"))),
        begins=summary or boundary,
        clears=kind == "user" and _CLEAR.search(_text(message)) is not None,
        preserved=_preserved(value.get("compactMetadata")) if boundary else None,
    )


def _queued_command(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A user's message that was queued while the agent worked and then given to the model."""
    held = value.get("attachment")
    if value.get("type") != "attachment" or not isinstance(held, Mapping) or held.get("type") != "queued_command":
        return None
    prompt = held.get("prompt")
    return {"role": "user", "content": prompt} if isinstance(prompt, str | list) and prompt else None


class _Queue:
    """The program's queue. Files of some versions say only there what a user wrote while the agent worked."""

    def __init__(self) -> None:
        self.waiting: list[_Queued] = []
        self.gone: list[_Queued] = []
        self.said: set[str] = set()
        self.last: str | None = None

    def met(self, record: Record, line: Line | None) -> None:
        if line is not None and line.talks:
            self.said.add(_text(line.message).strip())
            self.last = self.last if line.agent else line.uuid
        value = record.value
        if value.get("type") != "queue-operation":
            return
        content, session = value.get("content"), as_text(value.get("sessionId") or "session")
        if value.get("operation") == "enqueue" and isinstance(content, str) and content.strip():
            self.waiting.append(_Queued(record.number, content, self.last, session))
        elif value.get("operation") == "remove" and self.waiting:
            known = next((q for q in self.waiting if q.text == content), self.waiting[0])
            self.waiting.remove(known)
            self.gone.append(replace(known, number=record.number, after=self.last))
        elif value.get("operation") in ("dequeue", "popAll") and self.waiting:
            # Given to the model as a turn of its own, which has its line; or taken back by the user.
            self.waiting = self.waiting[1:] if value["operation"] == "dequeue" else []

    def sent(self) -> Iterator[Line]:
        """Messages that were given to the model in the middle of a turn and have no line of their own."""
        for queued in self.gone:
            if queued.text.strip() not in self.said:
                yield Line(
                    uuid=f"line-{queued.number}",
                    number=queued.number,
                    parent=queued.after,
                    kind="user",
                    message={"role": "user", "content": queued.text},
                    session=queued.session,
                    aside=True,
                )


def _preserved(metadata: Any) -> Preserved | None:
    if not isinstance(metadata, Mapping):
        return None
    kept = metadata.get("preservedMessages", metadata.get("preservedSegment"))
    if not isinstance(kept, Mapping):
        return None
    uuids = kept.get("uuids")
    ends = {end: kept.get(f"{end}Uuid") for end in ("head", "tail", "anchor")}
    return Preserved(
        tuple(map(as_text, uuids)) if isinstance(uuids, list) else (),
        **{end: as_text(uuid) for end, uuid in ends.items() if uuid is not None},
    )


def _transcripts(name: str, lines: Sequence[Line], options: SourceOptions) -> Iterator[Item]:
    graph = graph_of(lines)
    notes = options.notes
    if graph.circles:
        yield Skipped(name, f"{graph.circles} lines that are, or hang on, their own ancestors")
    notes.count("lines whose parent is not in the file", graph.torn)
    notes.count("second results of one call, left out", graph.again)
    notes.count("commands that cleared the context", graph.clears)
    by_uuid = {line.uuid: line for line in lines}
    kept = [(context, _kept(context.preserved, by_uuid)) for context in graph.contexts]
    notes.count("compactions that kept messages", sum(bool(held) for _, held in kept))
    number = 0
    for context, held in kept:
        for leaf, left_out in _chosen(context.root, options.branches, notes):
            number += 1
            path = _seen(path_to(leaf), context, held, [other for _, other in kept if other and other is not held])
            try:
                fields = _fields(number, path, left_out, options, name)
                yield make_transcript(fields, options, name)
            except RecordError as error:
                yield Skipped(f"{name} conversation {number}", str(error))


def _chosen(root: Turn, branches: Branches, notes: SourceNotes) -> Iterator[tuple[Turn, int]]:
    """The last turns of all branches, or of the one with the newest answer, and how many others there are."""
    ends = leaves(root)
    if branches is Branches.ALL:
        yield from ((leaf, 0) for leaf in ends)
        return
    leaf = newest_leaf(root)
    path = set(path_to(leaf))
    others = [turn for turn in turns_below(root) if turn not in path]
    notes.count("branches left out (--branches all reads them)", len(ends) - 1)
    notes.count("messages on branches left out", sum(len(turn.whole) for turn in others))
    yield leaf, len(ends) - 1


def _kept(preserved: Preserved | None, lines: Mapping[str, Line]) -> list[Line]:
    """The messages that a compaction kept, in order: listed, or from a head to a tail."""
    if preserved is None:
        return []
    uuids = list(preserved.uuids)
    if not uuids and preserved.tail is not None:
        at: str | None = preserved.tail
        while at in lines and at is not None and at not in uuids:
            uuids.append(at)
            at = None if at == preserved.head else lines[at].parent
        uuids.reverse()
    return [lines[uuid] for uuid in uuids if uuid in lines and lines[uuid].talks]


def _seen(path: list[Turn], context: Context, kept: list[Line], of_others: list[list[Line]]) -> list[Line]:
    """The lines that the model had before it: those of a branch, with what a compaction kept after its summary, and up
    to the last message that the next compaction kept, which the file hangs below that one's summary."""
    lines = [line for turn in path for line in turn.whole]
    there = {line.uuid for line in lines}
    missing = [line for line in kept if line.uuid not in there]
    if missing:
        anchor = context.preserved.anchor if context.preserved else None
        at = next((n for n, line in enumerate(lines, start=1) if line.uuid == anchor), 1)
        lines[at:at] = missing
    for others in of_others:
        inside = [n for n, line in enumerate(others) if line.uuid in there]
        if inside and lines and others[inside[-1]].uuid == lines[-1].uuid:
            lines += others[inside[-1] + 1 :]
    return lines


def _fields(number: int, lines: list[Line], left_out: int, options: SourceOptions, name: str) -> Fields:
    said = [line for line in lines if not line.by_client]
    errors = len(lines) - len(said)
    options.notes.count("messages that the program wrote in the assistant's place, left out", errors)
    session, agent = lines[0].session, lines[0].agent
    run = "/".join(filter(None, (name, session, agent)))
    transcript_id = f"{session}/{number}"
    models = [line.message.get("model") for line in said if line.kind == "assistant"]
    merged = _merged(said)
    messages = chat_messages([message for _, message in merged], transcript_id, options.roles, options.notes)
    return Fields(
        id=transcript_id,
        messages=_same_ids(messages, [uuid for uuid, message in merged if message["role"] == "assistant"], run),
        family=session,
        family_from="the session",
        model=as_text(models[-1]) if models and models[-1] is not None else None,
        variant="sidechain" if agent else None,
        turn_facts=stopped([message for _, message in merged], options.roles),
        metadata={
            "client_errors_left_out": str(errors),
            "branches_left_out": str(left_out),
            "agent": agent or None,
            "run": run,
        },
    )


def _same_ids(messages: list[ChatMessage], uuids: list[str], run: str) -> list[ChatMessage]:
    """An answer has the same message id in every context of the run that it stands in."""
    waiting = iter(uuids)
    return [
        m.model_copy(update={"id": message_id(f"{run}\n{next(waiting)}", 0)}) if m.role == "assistant" else m
        for m in messages
    ]


def _merged(said: list[Line]) -> list[tuple[str, dict[str, Any]]]:
    """Messages with the uuid of their first line; pieces of one answer, each a line, are put together again."""
    found: list[tuple[str, dict[str, Any]]] = []
    for line in said:
        message = {**line.message, "role": line.kind}
        last = found[-1][1] if found else {}
        if line.answer is not None and last.get("id") == line.message["id"] and last.get("role") == "assistant":
            stop = message.get("stop_reason") or last.get("stop_reason")
            pieces = [*_parts(last), *_parts(message)]
            found[-1] = (found[-1][0], {**last, "content": pieces, "stop_reason": stop})
        else:
            found.append((line.uuid, message))
    return found


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []


def _text(message: Mapping[str, Any]) -> str:
    """What a message says in text."""
    texts = (part.get("text") for part in _parts(message) if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


def _fits(probe: Probe) -> bool:
    return probe.container is Container.LINES and any(
        record.get("type") in _TYPES and bool({"sessionId", "leafUuid", "snapshot"} & set(record))
        for record in probe.records
    )


read = SOURCES.register("claude_code")(
    Source("claude_code", "a session file of Claude Code, or a folder of them", _read, _fits)
)
