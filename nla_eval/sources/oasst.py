"""Transcripts from OpenAssistant: trees of messages, nested (`prompt` with `replies`) or flat (`message_id` and
`parent_id`), in JSON or Parquet. A transcript is a path from the root to its last assistant message, a tree a family.

`branches` "best" takes the reply of the best rank at every step (people ranked them; the first where nobody did), "all"
every path. Flat messages of one tree must stand together, as they do in the published files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from ._base import Branches, Fields, Item, Record, RecordError, Skipped, SourceOptions, as_text, make_transcript
from ._json import json_records
from ._messages import chat_messages
from ._notes import BOOKKEEPING
from ._probe import Container, Probe, probe
from ._source import SOURCES, Source

_ROLES = {"prompter": "user", "assistant": "assistant", "system": "system"}
_READ = BOOKKEEPING | {
    "parent_id",
    "text",
    "role",
    "lang",
    "rank",
    "message_tree_id",
    "replies",
    "user_id",
    "created_date",
}
_COLUMNS = ("message_id", "parent_id", "text", "role", "lang", "rank", "deleted", "synthetic", "message_tree_id")


@dataclass
class _Tree:
    """Messages with the numbers of each one's replies; the root is number 0."""

    id: str
    messages: list[Mapping[str, Any]]
    replies: list[list[int]]
    lost: int = 0
    """Messages that hang on none of the tree's: their parent is missing, or they are their own ancestors."""


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    if probe(path).container is Container.PARQUET:
        from ._tables import parquet_rows

        records = parquet_rows(path, lambda schema: [name for name in schema.names if name in _COLUMNS])
    else:
        records = json_records(path, options)
    seen: set[str] = set()
    for tree_id, group in groupby(records, key=_tree_id):
        together = list(group)
        yield from (record for record in together if isinstance(record, Skipped))
        whole = [record for record in together if isinstance(record, Record)]
        if not whole:
            continue
        where = whole[0].where
        try:
            if tree_id in seen:
                raise RecordError(f"messages of the tree '{tree_id}' stand apart; sort them by message_tree_id")
            seen.add(tree_id)
            yield from _transcripts(_tree(tree_id, whole), options, path.name)
        except RecordError as error:
            yield Skipped(where, str(error))


def _tree_id(record: Record | Skipped) -> str:
    if isinstance(record, Skipped) or not isinstance(record.value, Mapping):
        return ""
    return as_text(record.value.get("message_tree_id") or "")


def _tree(tree_id: str, records: list[Record]) -> _Tree:
    values = [record.value for record in records]
    if not tree_id or not all(isinstance(value, Mapping) for value in values):
        raise RecordError("not a message or tree of OpenAssistant: no 'message_tree_id'")
    if isinstance(values[0].get("prompt"), Mapping):
        if len(values) > 1:
            raise RecordError(f"{len(values)} trees with the id '{tree_id}'")
        return _nested(tree_id, values[0]["prompt"])
    return _flat(tree_id, values)


def _nested(tree_id: str, prompt: Mapping[str, Any]) -> _Tree:
    def below(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        held = message.get("replies") or []
        if not isinstance(held, list) or not all(isinstance(reply, Mapping) for reply in held):
            raise RecordError("'replies' is not a list of messages")
        return held

    return _grown(tree_id, prompt, below)


def _flat(tree_id: str, values: list[Mapping[str, Any]]) -> _Tree:
    roots = [value for value in values if value.get("parent_id") is None]
    if len(roots) != 1:
        raise RecordError(f"a tree with {len(roots)} roots; expected 1")
    by_parent: dict[str, list[Mapping[str, Any]]] = {}
    for value in values:
        if value is not roots[0]:
            by_parent.setdefault(as_text(value["parent_id"]), []).append(value)
    # Taken out, so that an id that stands twice has its replies once and no circle is walked for ever.
    tree = _grown(tree_id, roots[0], lambda message: by_parent.pop(as_text(message.get("message_id")), []))
    return replace(tree, lost=len(values) - len(tree.messages))


def _grown(
    tree_id: str, root: Mapping[str, Any], below: Callable[[Mapping[str, Any]], list[Mapping[str, Any]]]
) -> _Tree:
    """The tree from its root on, given what replies to a message."""
    messages = [root]
    replies: list[list[int]] = []
    for message in messages:  # which grow meanwhile
        held = below(message)
        replies.append(list(range(len(messages), len(messages) + len(held))))
        messages.extend(held)
    return _Tree(tree_id, messages, replies)


def _transcripts(tree: _Tree, options: SourceOptions, source: str) -> Iterator[Item]:
    if tree.lost:
        yield Skipped(f"{source} tree {tree.id}", f"{tree.lost} messages that hang on none of their tree")
    for path in _paths(tree, options.branches):
        last = max((n for n, m in enumerate(path) if m.get("role") == "assistant"), default=-1)
        kept = path if options.prompts else path[: last + 1]
        if not kept:
            yield Skipped(f"{source} tree {tree.id}", "a branch without an assistant turn")
            continue
        yield make_transcript(_fields(tree, kept, options), options, source)


def _fields(tree: _Tree, path: list[Mapping[str, Any]], options: SourceOptions) -> Fields:
    leaf = as_text(path[-1].get("message_id"))
    transcript_id = tree.id if options.branches is Branches.BEST else f"{tree.id}/{leaf}"
    messages = [{"role": message.get("role"), "content": message.get("text")} for message in path]
    left_out = _leaves(tree) - 1 if options.branches is Branches.BEST else 0
    options.notes.count("branches left out (--branches all reads them)", left_out)
    for message in path:
        options.notes.left(message, _READ, "messages[].")
    return Fields(
        id=transcript_id,
        messages=chat_messages(messages, transcript_id, {**_ROLES, **options.roles}, options.notes),
        family=tree.id,
        family_from="the tree",
        metadata={
            "language": tree.messages[0].get("lang"),
            "branches_left_out": str(left_out),
            "synthetic": str(sum(bool(message.get("synthetic")) for message in path)),
        },
    )


def _leaves(tree: _Tree) -> int:
    return sum(not replies for replies in tree.replies)


def _paths(tree: _Tree, branches: Branches) -> Iterator[list[Mapping[str, Any]]]:
    """Messages from the root to each leaf, best first."""
    above = {reply: number for number, replies in enumerate(tree.replies) for reply in replies}
    waiting = [0]
    while waiting:
        at = waiting.pop()
        replies = sorted((r for r in tree.replies[at] if not tree.messages[r].get("deleted")), key=partial(_rank, tree))
        waiting.extend(reversed(replies[:1] if branches is Branches.BEST else replies))
        if not replies:
            path = [at]
            while path[-1] in above:
                path.append(above[path[-1]])
            yield [tree.messages[number] for number in reversed(path)]


def _rank(tree: _Tree, reply: int) -> float:
    rank = tree.messages[reply].get("rank")
    return float(rank) if isinstance(rank, int | float) else float("inf")


def _fits(probe: Probe) -> bool:
    return "message_tree_id" in probe.columns and bool({"prompt", "parent_id"} & probe.columns)


read = SOURCES.register("oasst")(Source("oasst", "OpenAssistant trees or messages, in JSON or Parquet", _read, _fits))
