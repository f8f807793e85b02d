"""Transcripts from ChatGPT's export (`conversations.json`): conversations as trees of messages ({mapping,
current_node}). The family is the conversation.

`branches` "best" reads the branch that was on screen last, "all" every one. Calls of ChatGPT's own tools (python,
browser, ...) are messages to a recipient; what comes back is from an author of that name. Custom instructions are a
system message. Empty messages, which the export has many of, hold nothing and are passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._base import Branches, Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._json import json_records
from ._messages import chat_messages
from ._probe import Container, Probe
from ._source import SOURCES, Source
from ._turns import Turns, stop_of

_TEXTS = ("text", "result", "content", "summary", "output_str", "name")
_CONTEXTS = ("user_editable_context", "model_editable_context")
"""Kinds of contents that the program put before the conversation: custom instructions, the model's memory."""
_READ = frozenset((*_TEXTS, "content_type", "parts", "thoughts", "language", "url", "domain"))
"""Keys of a content that are read, or hold no words; all of its texts but the first are counted."""
_INSTRUCTIONS = ("user_profile", "user_instructions", "model_set_context", "repo_summary", "structured_context")
_RECAP = "reasoning_recap"


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    for record in json_records(path, options):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            yield from _conversation(record, options, path.name)
        except RecordError as error:
            yield Skipped(record.where, str(error))


def _conversation(record: Record, options: SourceOptions, source: str) -> Iterator[Item]:
    value = record.value
    mapping = value.get("mapping") if isinstance(value, Mapping) else None
    if not isinstance(mapping, Mapping):
        raise RecordError("no 'mapping' of messages")
    nodes = {str(key): node for key, node in mapping.items() if isinstance(node, Mapping)}
    own = value.get("conversation_id") or value.get("id")
    named = as_text(own) if own else f"conversation-{record.number}"
    paths = {leaf: path for leaf in _leaves(nodes) if (path := _path(leaf, nodes))}
    on_tree = {key for path in paths.values() for key in path}
    lost = sum(bool(node.get("message")) for key, node in nodes.items() if key not in on_tree)
    if lost:
        yield Skipped(record.where, f"{lost} messages that are, or hang on, their own ancestors")
    chosen = _chosen(paths, nodes, value.get("current_node"), options)
    for leaf, path in chosen.items():
        transcript_id = named if options.branches is Branches.BEST else f"{named}/{leaf}"
        try:
            fields = _fields(value, [nodes[key] for key in path], transcript_id, named, options)
            yield make_transcript(fields, options, source)
        except RecordError as error:
            yield Skipped(record.where if len(chosen) == 1 else f"{record.where} branch {leaf}", str(error))


def _chosen(
    paths: Mapping[str, list[str]], nodes: Mapping[str, Mapping[str, Any]], current: Any, options: SourceOptions
) -> dict[str, list[str]]:
    """All branches, or the one that was on screen last; the last one written where the export does not say."""
    if options.branches is Branches.ALL or not paths:
        return dict(paths)
    if isinstance(current, str) and current in nodes and (path := _path(current, nodes)):
        leaf = current
    else:
        leaf, path = list(paths.items())[-1]
    others = sum(other[: len(path)] != path and path[: len(other)] != other for other in paths.values())
    options.notes.count("branches left out (--branches all reads them)", others)
    return {leaf: path}


def _leaves(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parents = {parent for node in nodes.values() if isinstance(parent := node.get("parent"), str)}
    return [key for key in nodes if key not in parents]


def _path(leaf: str, nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """From the root, or from the first message whose parent is not there, to a node; empty for a circle."""
    path, met = [leaf], {leaf}
    while isinstance(parent := nodes[path[-1]].get("parent"), str) and parent in nodes:
        if parent in met:
            return []
        met.add(parent)
        path.append(parent)
    return path[::-1]


def _fields(
    value: Mapping[str, Any], path: list[Mapping[str, Any]], transcript_id: str, named: str, options: SourceOptions
) -> Fields:
    turns, models = Turns(), []
    calls: list[tuple[str, str]] = []
    for number, node in enumerate(path):
        message = node.get("message")
        if message is None:
            continue
        if not isinstance(message, Mapping):
            raise RecordError(f"message {number} is not an object")
        _message(turns, message, number, calls, options)
        if lookup(message, "author.role") == "assistant":
            models.append(lookup(message, "metadata.model_slug"))
    family = lookup(value, options.family_key) if options.family_key else None
    outcome = lookup(value, options.outcome_key) if options.outcome_key else None
    model = next((found for found in reversed(models) if found), value.get("default_model_slug"))
    return Fields(
        id=transcript_id,
        messages=chat_messages(turns.messages, transcript_id, options.roles),
        family=named if family is None else as_text(family),
        model=None if model is None else as_text(model),
        outcome=None if outcome is None else as_text(outcome),
        metadata={"title": value.get("title"), "gizmo": value.get("gizmo_id")},
        turn_facts=turns.facts,
    )


def _message(
    turns: Turns, message: Mapping[str, Any], number: int, calls: list[tuple[str, str]], options: SourceOptions
) -> None:
    role, content = lookup(message, "author.role"), message.get("content")
    held: Mapping[str, Any] = content if isinstance(content, Mapping) else {"parts": [content] if content else []}
    parts = _parts(held)
    _note_unread(held, options)
    if held.get("content_type") in _CONTEXTS:
        if parts:
            turns.add("system", parts)
    elif role == "assistant":
        _assistant(turns, message, held, parts, number, calls, options)
    elif role == "tool":
        name = as_text(lookup(message, "author.name") or "tool")
        call_id = next((call for call, called in calls if called.split(".")[0] == name.split(".")[0]), None)
        calls[:] = [call for call in calls if call[0] != call_id]
        if parts or call_id is not None:
            turns.result(call_id, parts, name=name, failed=held.get("content_type") == "system_error")
    elif role in ("user", "system", "developer"):
        if parts:
            turns.add(str(role), parts)
    else:
        raise RecordError(f"message {number} has the unknown role '{role}'; expected system, user, assistant or tool")


def _assistant(
    turns: Turns,
    message: Mapping[str, Any],
    held: Mapping[str, Any],
    parts: list[dict[str, Any]],
    number: int,
    calls: list[tuple[str, str]],
    options: SourceOptions,
) -> None:
    kind, recipient = held.get("content_type"), message.get("recipient") or "all"
    if kind == "thoughts":
        for thought in held["thoughts"] if isinstance(held.get("thoughts"), list) else []:
            words = thought.get("content") or thought.get("summary") if isinstance(thought, Mapping) else thought
            turns.think(as_text(words or ""))
    elif kind == _RECAP:
        options.notes.count("lines that say how long the model thought")
    elif recipient != "all":
        call_id = as_text(message.get("id") or f"call_{number}")
        calls.append((call_id, as_text(recipient)))
        turns.call(call_id, as_text(recipient), _given("\n".join(part.get("text", "") for part in parts)))
    elif parts:
        turns.say(parts)
    details = lookup(message, "metadata.finish_details.type")
    if details is not None:
        stop = stop_of(details)
        if turns.messages and turns.messages[-1]["role"] == "assistant" and kind not in ("thoughts", _RECAP):
            turns.ended(stop)


def _given(text: str) -> Any:
    """Arguments of a call: the JSON object that its text is, or the text."""
    return text if text.lstrip()[:1] == "{" else {"input": text}


def _parts(held: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content of a message as parts with words, or of media; without those that are empty."""
    kind = held.get("content_type")
    if kind in _CONTEXTS or any(key in held for key in _INSTRUCTIONS[2:]):
        return [_text(held[key]) for key in _INSTRUCTIONS if isinstance(held.get(key), str) and held[key].strip()]
    found = []
    if isinstance(held.get("parts"), list):
        for part in held["parts"]:
            found += _part(part)
        return found
    return [_text(held[key]) for key in _TEXTS if isinstance(held.get(key), str) and held[key].strip()][:1]


def _note_unread(held: Mapping[str, Any], options: SourceOptions) -> None:
    """Count the texts of a content that are not read, such as those of a kind that is not known."""
    options.notes.left(held, {*_READ, *_INSTRUCTIONS}, "content.")
    for part in held["parts"] if isinstance(held.get("parts"), list) else []:
        if isinstance(part, Mapping):
            options.notes.left(part, _READ | {"asset_pointer", "direction"}, "content.parts[].")


def _part(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, str):
        return [_text(part)] if part.strip() else []
    if not isinstance(part, Mapping):
        return [_text(as_text(part))]
    kind = as_text(part.get("content_type") or "")
    words = next((part[key] for key in _TEXTS if isinstance(part.get(key), str)), None)
    if words is not None:
        return [_text(words)] if words.strip() else []
    if "image" in kind:
        return [{"type": "image_url", "image_url": {"url": as_text(part.get("asset_pointer") or "")}}]
    return [
        {"type": "file", "file": {"filename": kind or "file", "file_data": as_text(part.get("asset_pointer") or "")}}
    ]


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def _is_conversation(record: Mapping[str, Any]) -> bool:
    mapping = record.get("mapping")
    if not isinstance(mapping, Mapping) or not mapping:
        return False
    node = next(iter(mapping.values()))
    return isinstance(node, Mapping) and bool({"parent", "children", "message"} & set(node))


def _fits(probe: Probe) -> bool:
    containers = (Container.LIST, Container.OBJECT, Container.LINES)
    return probe.container in containers and any(map(_is_conversation, probe.records))


read = SOURCES.register("chatgpt")(Source("chatgpt", "conversations.json of ChatGPT's export", _read, _fits))
