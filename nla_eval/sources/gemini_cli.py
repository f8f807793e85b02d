"""Transcripts from session files of Gemini CLI: one object {sessionId, projectHash, messages}, or JSON lines of it: the
session, then its messages, changes ({"$set": ...}) and rewinds ({"$rewindTo": ID}).

A message of the model holds its thoughts, its text and its calls with their results. Notices of the program (info,
warning, error) were never in the model's context; they, and messages that were rewound, are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._base import Branches, Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, make_transcript
from ._gemini import add_contents, result_text
from ._json import json_records
from ._messages import chat_messages
from ._probe import Container, Probe
from ._source import SOURCES, Source
from ._turns import Turns

_NOTICES = ("info", "warning", "error")
_READ = (*("id", "timestamp", "type", "content", "displayContent", "toolCalls", "thoughts", "tokens", "model"),)


@dataclass
class _Session:
    """What has been read of one session."""

    id: str
    project: str = ""
    subagent: bool = False
    messages: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By id: a message that is written again takes the place of the one before."""
    rewound: list[list[Mapping[str, Any]]] = field(default_factory=list)
    """The messages as they stood before each rewind."""


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    name = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    session = _Session(name)
    for record in json_records(path, options):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            _line(record, session, options)
        except RecordError as error:
            yield Skipped(record.where, str(error))
    paths = [*(session.rewound if options.branches is Branches.ALL else []), list(session.messages.values())]
    paths = [messages for messages in paths if messages]
    for number, messages in enumerate(paths, start=1):
        try:
            transcript_id = f"{session.id}/{number}" if len(paths) > 1 else session.id
            yield make_transcript(_fields(session, messages, transcript_id, options), options, path.name)
        except RecordError as error:
            yield Skipped(f"{path.name} path {number}", str(error))
    if not paths:
        yield Skipped(path.name, "no messages in this session")


def _line(record: Record, session: _Session, options: SourceOptions) -> None:
    value = record.value
    if not isinstance(value, Mapping):
        raise RecordError("not a JSON object")
    if isinstance(value.get("$rewindTo"), str):
        _rewind(value["$rewindTo"], session, options)
    elif isinstance(value.get("$set"), Mapping):
        _opened(value["$set"], session, anew=True)
    elif "sessionId" in value:
        _opened(value, session, anew=False)
    elif isinstance(value.get("id"), str) and "type" in value:
        session.messages[value["id"]] = value
    else:
        options.notes.hold("lines of another kind", value)


def _opened(value: Mapping[str, Any], session: _Session, *, anew: bool) -> None:
    """Take what a line says of the session; a change that has messages has all of them."""
    session.id = as_text(value.get("sessionId") or session.id)
    session.project = as_text(value.get("projectHash") or session.project)
    session.subagent = session.subagent or value.get("kind") == "subagent"
    messages = value.get("messages")
    if not isinstance(messages, list):
        return
    if anew:
        session.messages.clear()
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise RecordError(f"message {number} is not an object")
        session.messages[as_text(message.get("id", f"message-{number}"))] = message


def _rewind(to: str, session: _Session, options: SourceOptions) -> None:
    """Back to before a message; to the start where it is not known."""
    ids = list(session.messages)
    at = ids.index(to) if to in session.messages else 0
    session.rewound.append(list(session.messages.values()))
    if options.branches is Branches.BEST:
        options.notes.count("messages that were rewound (--branches all reads them)", len(ids) - at)
    for gone in ids[at:]:
        del session.messages[gone]


def _fields(session: _Session, messages: list[Mapping[str, Any]], transcript_id: str, options: SourceOptions) -> Fields:
    turns = Turns()
    models = []
    for number, message in enumerate(messages):
        kind = message.get("type")
        options.notes.left(message, _READ, "messages[].")
        if kind == "user":
            add_contents(turns, [{"role": "user", "parts": _parts(message.get("content"))}])
        elif kind == "gemini":
            _answer(turns, message, number)
            models.append(message.get("model"))
        elif kind in _NOTICES:
            options.notes.count(f"notices of the program ({kind})")
        else:
            raise RecordError(f"message {number} has the unknown type '{kind}'; expected user or gemini")
    return Fields(
        id=transcript_id,
        messages=chat_messages(turns.messages, transcript_id, options.roles),
        family=session.id,
        model=as_text(models[-1]) if models and models[-1] is not None else None,
        variant="subagent" if session.subagent else None,
        turn_facts=turns.facts,
    )


def _answer(turns: Turns, message: Mapping[str, Any], number: int) -> None:
    """A message of the model. The program shows calls and results together; the model read the results after."""
    turns.close()
    for thought in _list(message.get("thoughts")):
        words = (as_text(thought.get(key) or "") for key in ("subject", "description"))
        turns.think("\n".join(text for text in words if text))
    calls = _list(message.get("toolCalls"))
    parts = _parts(message.get("content"))
    if any(part != {"text": ""} for part in parts) or not (calls or message.get("thoughts")):
        turns.say([{"type": "text", "text": ""}] if not parts else _said(parts, number))
    for call in calls:
        call_id = call.get("id")
        turns.call(None if call_id is None else as_text(call_id), call.get("name"), call.get("args"))
    for call in calls:
        if call.get("result") is not None:
            failed = call.get("status") in ("error", "cancelled")
            turns.result(call.get("id"), _result(call["result"]), name=call.get("name"), failed=failed)
    turns.close()


def _said(parts: list[Any], number: int) -> list[Any]:
    """Parts of an answer as content; thoughts among them too."""
    inner = Turns()
    add_contents(inner, [{"role": "model", "parts": parts}])
    if len(inner.messages) > 1 or any("tool_calls" in answer or answer["role"] == "tool" for answer in inner.messages):
        raise RecordError(f"message {number}: calls in its content; expected them in 'toolCalls'")
    return [part for answer in inner.messages for part in answer["content"] or []]


def _parts(content: Any) -> list[Any]:
    """A list of parts, of what may be text, one part, or a list."""
    held = content if isinstance(content, list) else [] if content is None else [content]
    return [{"text": part} if isinstance(part, str) else part for part in held]


def _result(result: Any) -> str:
    """What a call gave: the responses of its function, and whatever else stands beside them."""
    texts = []
    for part in _parts(result):
        response = part.get("functionResponse") if isinstance(part, Mapping) else None
        if isinstance(response, Mapping):
            texts.append(result_text(response.get("response")))
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            texts.append(as_text(part))
    return "\n".join(texts)


def _list(value: Any) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(held, Mapping) for held in value):
        raise RecordError("'thoughts' or 'toolCalls' is not a list of objects")
    return value


def _fits(probe: Probe) -> bool:
    containers = (Container.LINES, Container.OBJECT)
    return probe.container in containers and any({"sessionId", "projectHash"} <= set(r) for r in probe.records)


read = SOURCES.register("gemini_cli")(
    Source("gemini_cli", "a session file of Gemini CLI, or a folder of them", _read, _fits)
)
