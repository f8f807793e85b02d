"""A coding agent's session is read as the graph it is: every message of a file is in exactly one transcript, or in one
counted reason."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_eval.sources import Branches, SourceOptions, read
from nla_eval.transcript import Arm, Transcript
from tests.sources.fixtures import block, entry, result, use

INPUTS = Path(__file__).parents[1] / "data" / "bug_inputs"


def options(**more: Any) -> SourceOptions:
    return SourceOptions(suite="s", arm=Arm.DEPLOYMENT, **more)


def said(found: Transcript) -> list[str]:
    """Each message in short: its words and the tools that it calls."""
    short = []
    for message in found.messages:
        calls = [call.function for call in getattr(message, "tool_calls", None) or []]
        short.append(" ".join([*([message.text] if message.text else []), *calls]))
    return short


def transcripts(place: Path, chosen: SourceOptions | None = None) -> list[Transcript]:
    return [item for item in read(place, chosen or options()) if isinstance(item, Transcript)]


def of(folder: Path, lines: list[Any], chosen: SourceOptions | None = None) -> list[list[str]]:
    path = folder / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return [said(found) for found in transcripts(path, chosen)]


def user(uuid: str, parent: str | None, text: str = "", **more: Any) -> Any:
    return entry("user", uuid, parent, {"role": "user", "content": text or uuid}, **more)


def answer(uuid: str, parent: str | None, text: str = "", id: str = "", **more: Any) -> Any:
    return entry("assistant", uuid, parent, block(id or f"m_{uuid}", {"type": "text", "text": text or uuid}), **more)


def call(uuid: str, parent: str | None, tool: str, id: str, **more: Any) -> Any:
    return entry("assistant", uuid, parent, block(id, {**use(tool), "name": tool}), **more)


def back(uuid: str, parent: str | None, *calls: str, **more: Any) -> Any:
    return entry("user", uuid, parent, result(*calls), **more)


def hook(uuid: str, parent: str | None, kind: str = "progress") -> Any:
    return entry(kind, uuid, parent, data={"type": "hook_progress"})


def queued(uuid: str, parent: str, text: str) -> Any:
    return entry("attachment", uuid, parent, attachment={"type": "queued_command", "prompt": text})


def boundary(uuid: str, parent: str | None = None, **metadata: Any) -> Any:
    return entry("system", uuid, parent, subtype="compact_boundary", compactMetadata={"trigger": "auto", **metadata})


@pytest.mark.parametrize(
    ("name", "contexts"),
    [
        ("cc_parallel_hooks2.jsonl", [["go", "A B", "one", "two", "done"]]),
        ("cc_clear.jsonl", [["start", "ready"], ["unrelated", "fresh"]]),
        ("cc_queued.jsonl", [["start the migration", "Bash", "ok", "wait, only the parser please",
                              "Understood, parser only."]]),
        ("cc_folder", [["go", "hello A", "x", "done"], ["other session file", "hello A", "x", "done"]]),
        ("cc_preserved.jsonl", [
            ["start", "ready", "keep going", "kept going"],
            ["This session is being continued. Summary: S.", "ready", "keep going", "kept going", "after", "final"],
        ]),
    ],
)  # fmt: skip
def test_an_input_that_lost_messages_keeps_them_all(name: str, contexts: list[list[str]]) -> None:
    assert [said(found) for found in transcripts(INPUTS / name)] == contexts


def test_what_a_compaction_kept_has_the_same_message_ids_in_both_contexts_of_one_run() -> None:
    before, after = transcripts(INPUTS / "cc_preserved.jsonl")
    assert before.metadata["run"] == after.metadata["run"]
    ids = [{m.id for m in found.messages if m.role == "assistant"} for found in (before, after)]
    assert len(ids[0] & ids[1]) == 2
    assert len({found.family for found in (before, after)}) == 1


def test_turns_of_two_files_with_one_session_id_are_not_taken_for_each_other() -> None:
    first, second = transcripts(INPUTS / "cc_folder")
    answers = [{m.id for m in found.messages if m.role == "assistant"} for found in (first, second)]
    assert not answers[0] & answers[1]
    assert first.metadata["run"] != second.metadata["run"]
    assert (first.family, first.id) == (second.family, second.id.removeprefix("b.jsonl/"))


GRAPHS: dict[str, tuple[list[Any], list[list[str]]]] = {
    "three calls whose results hang on their own lines, with hooks between": (
        [user("u", None), call("a1", "u", "A", "M"), call("a2", "a1", "B", "M"), call("a3", "a2", "C", "M"),
         hook("h1", "a1"), back("r1", "h1", "A"), hook("h2", "a3"), back("r3", "h2", "C"), back("r2", "a2", "B"),
         answer("b", "r2")],
        [["u", "A B C", "of A", "of C", "of B", "b"]],
    ),
    "the next answer hangs on the first result": (
        [user("u", None), call("a1", "u", "A", "M"), back("r1", "a1", "A"), call("a2", "a1", "B", "M"),
         back("r2", "a2", "B"), answer("b", "r1"), user("v", "b"), answer("c", "v")],
        [["u", "A B", "of A", "of B", "b", "v", "c"]],
    ),
    "pieces of one answer hang on one parent": (
        [user("u", None), answer("a1", "u", id="M"), call("a2", "u", "A", "M"), back("r1", "a2", "A"),
         answer("b", "r1")],
        [["u", "a1 A", "of A", "b"]],
    ),
    "results one below the other": (
        [user("u", None), call("a1", "u", "A", "M"), call("a2", "a1", "B", "M"), back("r1", "a2", "A"),
         back("r2", "r1", "B"), answer("b", "r2")],
        [["u", "A B", "of A", "of B", "b"]],
    ),
    "a hook's message beside the turn that goes on": (
        [user("u", None), call("a", "u", "A", "M"), back("r", "a", "A"), user("h", "r", "hook says", isMeta=True),
         answer("b", "r")],
        [["u", "A", "of A", "hook says", "b"]],
    ),
    "a queued turn beside the turn that goes on": (
        [user("u", None), call("a", "u", "A", "M"), back("r", "a", "A"), queued("q", "a", "wait"), answer("b", "r")],
        [["u", "A", "of A", "wait", "b"]],
    ),
    "two queued turns, one of them in parts": (
        [user("u", None), call("a", "u", "A", "M"), back("r", "a", "A"), queued("q", "r", "wait"),
         entry("attachment", "p", "q",
               attachment={"type": "queued_command", "prompt": [{"type": "text", "text": "and this"}]}),
         answer("b", "p")],
        [["u", "A", "of A", "wait", "and this", "b"]],
    ),
    "a user's turn beside the answer that came after it": (
        [user("u", None), call("a", "u", "A", "M"), user("q", "a", "wait"), back("r", "a", "A"), answer("b", "r")],
        [["u", "A", "of A", "wait", "b"]],
    ),
    "a user's turn beside an answer that came before it is a rewound one": (
        [user("u", None), call("a", "u", "A", "M"), back("r", "a", "A"), answer("b", "r"), user("q", "r", "other")],
        [["u", "A", "of A", "b"]],
    ),
    "a turn that only the queue has": (
        [user("u", None), call("a", "u", "A", "M"),
         {"type": "queue-operation", "operation": "enqueue", "content": "wait", "sessionId": "s1"},
         back("r", "a", "A"), {"type": "queue-operation", "operation": "remove", "sessionId": "s1"}, answer("b", "r")],
        [["u", "A", "of A", "wait", "b"]],
    ),
    "a queued turn that became one of its own stands once": (
        [user("u", None), {"type": "queue-operation", "operation": "enqueue", "content": "wait", "sessionId": "s1"},
         answer("a", "u"), {"type": "queue-operation", "operation": "dequeue", "sessionId": "s1"},
         user("w", "a", "wait"), answer("b", "w")],
        [["u", "a", "wait", "b"]],
    ),
    "a summary in the chain": (
        [user("u", None), answer("a", "u"), user("s", "a", "Summary", isCompactSummary=True), answer("b", "s")],
        [["u", "a"], ["Summary", "b"]],
    ),
    "a boundary in the chain": (
        [user("u", None), answer("a", "u"), boundary("c", "a"), user("s", "c", "Summary", isCompactSummary=True),
         answer("b", "s")],
        [["u", "a"], ["Summary", "b"]],
    ),
    "a compaction that names the ends of what it kept": (
        [user("u", None), answer("a", "u"), user("v", "a"), answer("b", "v"),
         boundary("c", None, preservedSegment={"headUuid": "v", "anchorUuid": "s", "tailUuid": "b"}),
         user("s", "c", "Summary", isCompactSummary=True), user("w", "s"), answer("d", "w")],
        [["u", "a", "v", "b"], ["Summary", "v", "b", "w", "d"]],
    ),
    "two compactions": (
        [user("u", None), answer("a", "u"), boundary("c", None), user("s", "c", "S1", isCompactSummary=True),
         answer("b", "s"), boundary("d", None), user("t", "d", "S2", isCompactSummary=True), answer("e", "t")],
        [["u", "a"], ["S1", "b"], ["S2", "e"]],
    ),
    "two clears": (
        [user("u", None), answer("a", "u"), user("c", "a", "<command-name>/clear</command-name>"), user("v", "c"),
         answer("b", "v"), user("d", "b", "<command-name>/clear</command-name>"), hook("h", "d", "system"),
         user("w", "h"), answer("e", "w")],
        [["u", "a"], ["v", "b"], ["w", "e"]],
    ),
    "a sub-agent that hangs on the call that started it": (
        [user("u", None), call("a", "u", "Task", "M"), user("x", "a", "look", isSidechain=True, agentId="7"),
         answer("y", "x", isSidechain=True, agentId="7"), back("r", "a", "Task"), answer("b", "r")],
        [["u", "Task", "of Task", "b"], ["look", "y"]],
    ),
    "two sub-agents between each other's lines": (
        [user("x", None, isSidechain=True, agentId="1"), user("p", None, isSidechain=True, agentId="2"),
         answer("y", "x", isSidechain=True, agentId="1"), answer("q", "p", isSidechain=True, agentId="2")],
        [["x", "y"], ["p", "q"]],
    ),
    "a result whose parent is not in the file follows its call": (
        [user("u", None), call("a", "u", "A", "M"), back("r", "gone", "A"), answer("b", "r")],
        [["u", "A", "of A", "b"]],
    ),
    "any other line whose parent is not in the file begins anew": (
        [user("u", None), answer("a", "u"), user("v", "gone"), answer("b", "v")],
        [["u", "a"], ["v", "b"]],
    ),
    "a rewound turn": (
        [user("u", None), answer("a", "u"), user("v", "a"), answer("b", "v"), user("w", "a"), answer("c", "w")],
        [["u", "a", "w", "c"]],
    ),
    "an answer that was written again": (
        [user("u", None), answer("a", "u"), answer("b", "u"), user("v", "b"), answer("c", "v")],
        [["u", "b", "v", "c"]],
    ),
    "children that stand before their parents": (
        [answer("a", "u"), user("v", "a"), user("u", None), answer("b", "v")],
        [["u", "a", "v", "b"]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_contexts_are_what_the_model_saw(name: str, tmp_path: Path) -> None:
    lines, contexts = GRAPHS[name]
    assert of(tmp_path, lines) == contexts


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    chosen = options()
    lines = [
        user("u", None), answer("a", "u"), user("v", "a"), answer("b", "v"), user("w", "a"), answer("c", "w"),
        answer("e", "c", isApiErrorMessage=True), answer("f", "e", text="No response requested."),
        user("x", "gone"), answer("y", "x"), hook("h", "y"),
        entry("attachment", "t", "y", attachment={"type": "todo_reminder", "content": "write tests"}),
    ]  # fmt: skip
    lines[7]["message"]["model"] = "<synthetic>"
    assert of(tmp_path, lines, chosen) == [["u", "a", "w", "c"], ["x", "y"]]
    counts = chosen.notes.counts
    assert counts["branches left out (--branches all reads them)"] == 1
    assert counts["messages on branches left out"] == 2
    assert counts["messages that the program wrote in the assistant's place, left out"] == 2
    assert counts["lines whose parent is not in the file"] == 1
    assert chosen.notes.unread["attachment.attachment.content"].times == 1


@dataclass
class Session:
    """A session file in the making; every message has a word of its own."""

    draw: Any
    lines: list[Any] = field(default_factory=list)
    at: str | None = None
    count: int = 0
    talk: list[str] = field(default_factory=list)
    """Words of messages that must be found."""

    def new(self) -> str:
        self.count += 1
        return f"w{self.count}"

    def say(self, line: Any, word: str) -> None:
        self.lines.append(line)
        self.talk.append(word)

    def ask(self) -> None:
        word = self.new()
        self.say(user(word, self.at), word)
        self.at = word

    def reply(self) -> None:
        word = self.new()
        pieces = [word, *(f"{word}p{n}" for n in range(self.draw(st.integers(0, 2))))]
        above = self.at
        for piece in pieces:
            self.say(answer(piece, above, id=f"M{word}"), piece)
            above = piece if self.draw(st.booleans()) else above
        self.at = pieces[-1]

    def tools(self) -> None:
        word, above = self.new(), self.at
        made, results = [f"{word}c{n}" for n in range(self.draw(st.integers(1, 4)))], []
        for tool in made:
            self.say(call(tool, above, tool, f"M{word}"), tool)
            above = tool
        for tool in self.draw(st.permutations(made)):
            parent = tool
            if self.draw(st.booleans()):
                parent = f"{tool}h"
                self.lines.append(hook(parent, tool))
            self.say(back(f"{tool}r", parent, tool), f"of {tool}")
            results.append(f"{tool}r")
        self.at = self.draw(st.sampled_from(results))

    def queue(self) -> None:
        word = self.new()
        self.say(queued(word, str(self.at), word), word)
        self.at = word if self.draw(st.booleans()) else self.at

    def compact(self) -> None:
        edge, word = self.new(), self.new()
        in_chain = self.draw(st.booleans())
        self.lines.append(boundary(edge, self.at if in_chain else None))
        self.say(user(word, edge, isCompactSummary=True), word)
        self.at = word

    def clear(self) -> None:
        word = self.new()
        self.say(user(word, self.at, f"{word} <command-name>/clear</command-name>"), word)
        self.at = word

    def rewind(self) -> None:
        self.at = self.draw(st.sampled_from([line["uuid"] for line in self.lines]))

    def sidechain(self) -> None:
        word = self.new()
        parent = self.draw(st.sampled_from([None, self.at]))
        self.say(user(word, parent, isSidechain=True, agentId=word), word)
        self.say(answer(f"{word}a", word, isSidechain=True, agentId=word), f"{word}a")

    def tear(self) -> None:
        self.at = "not in the file"


STEPS = ("ask", "reply", "tools", "queue", "compact", "clear", "rewind", "sidechain", "tear")


@given(st.data(), st.lists(st.sampled_from(STEPS), min_size=1, max_size=14))
@settings(max_examples=500, deadline=None)
def test_every_message_is_in_one_transcript_or_one_counted_reason(data: st.DataObject, steps: list[str]) -> None:
    session = Session(data.draw)
    session.ask()
    for step in steps:
        getattr(session, step)()
    chosen = options(prompts=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_text("\n".join(map(json.dumps, session.lines)))
        items = list(read(path, chosen))
    found = [item for item in items if isinstance(item, Transcript)]
    assert len(found) == len(items)
    words = Counter(word for one in found for message in said(one) for word in _words(message))
    assert max(words.values()) == 1
    missing = [word for word in session.talk if word not in words]
    counts = chosen.notes.counts
    left_out = counts.get("messages on branches left out", 0) + counts.get("commands that cleared the context", 0)
    assert len(missing) == left_out


@given(st.data(), st.lists(st.sampled_from(STEPS), min_size=1, max_size=14))
@settings(max_examples=200, deadline=None)
def test_with_all_branches_no_message_is_missing(data: st.DataObject, steps: list[str]) -> None:
    session = Session(data.draw)
    session.ask()
    for step in steps:
        getattr(session, step)()
    chosen = options(prompts=True, branches=Branches.ALL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_text("\n".join(map(json.dumps, session.lines)))
        found = transcripts(path, chosen)
    words = {word for one in found for message in said(one) for word in _words(message)}
    cleared = chosen.notes.counts.get("commands that cleared the context", 0)
    assert len([word for word in session.talk if word not in words]) == cleared


def _words(message: str) -> list[str]:
    """The words that stand for messages: of pieces of one answer each, of a result its call."""
    if message.startswith("of "):
        return [message]
    return [word for word in message.split() if word.startswith("w")]
