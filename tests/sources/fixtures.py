"""One small file or folder of every supported format, well-formed and damaged, with the expected result.

We wrote all of them. `python -m tests.sources.fixtures` prints the table of docs/sources.md."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from nla_eval.sources import Answers, Branches, Item, Skipped, SourceNotes, SourceOptions, read, source_of
from nla_eval.transcript import Arm, Transcript
from tests.sources import conversations as c

ASK = {"role": "user", "content": "Which files are there?"}
ANSWER = {"role": "assistant", "content": "Two: a and b."}
CALL = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"cmd": "ls"}'}}
AGENT = [
    {"role": "system", "content": "You are a careful agent."},
    ASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "a b"},
    ANSWER,
]
ANTHROPIC = [
    ASK,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "I should look.", "signature": "x"},
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "t1", "name": "bash", "input": {"cmd": "ls"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a b"}]},
            {"type": "text", "text": "And?"},
        ],
    },
    {"role": "assistant", "content": "Two: a and b."},
]
INSPECT = [
    {"id": "m0", "role": "user", "source": "input", "content": "Which files are there?"},
    {
        "id": "m1", "role": "assistant", "source": "generate",
        "content": [{"type": "reasoning", "reasoning": "I should look."}, {"type": "text", "text": ""}],
        "tool_calls": [{"id": "c1", "function": "bash", "arguments": {"cmd": "ls"}, "type": "function"}],
    },
    {"id": "m2", "role": "tool", "content": "a b", "tool_call_id": "c1", "function": "bash"},
    {"id": "m3", "role": "assistant", "source": "generate", "content": "Two: a and b."},
]  # fmt: skip
SHAREGPT = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "Which files are there?"},
    {"from": "function_call", "value": '{"name": "bash", "arguments": {"cmd": "ls"}}'},
    {"from": "observation", "value": "a b"},
    {"from": "gpt", "value": "Two: a and b."},
]


@dataclass(frozen=True)
class Fixture:
    """A file to write and what has to be read of it."""

    name: str
    reader: str
    write: Callable[[Path], Path]
    """Writes below a folder; the place to read comes back."""
    transcripts: int
    dropped: tuple[str, ...] = ()
    """A part of each reason, in order."""
    options: dict[str, Any] = field(default_factory=dict)

    def read(self, folder: Path) -> tuple[str, list[Item], SourceNotes]:
        """The reader that detection chose, its items, and what it counted beside."""
        place = self.write(folder)
        options = SourceOptions(suite="s", arm=Arm.EVALUATION, **self.options)
        return source_of(place, options.messages_key).name, list(read(place, options)), options.notes


def text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """Writes one file."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path

    return write


def lines(name: str, *records: Any) -> Callable[[Path], Path]:
    """Writes JSON lines; bytes are lines as they are."""
    made = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    return text(name, b"\n".join(made) + b"\n")


def table(name: str, rows: list[dict[str, Any]]) -> Callable[[Path], Path]:
    """Writes Parquet."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
        return path

    return write


def folder_of(*writers: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Writes several files into one folder."""

    def write(folder: Path) -> Path:
        below = folder / "several"
        below.mkdir()
        for writer in writers:
            writer(below)
        return below

    return write


def entry(kind: str, uuid: str, parent: str | None, message: dict[str, Any] | None = None, **more: Any) -> Any:
    """A line of Claude Code's."""
    base = {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s1", "isSidechain": False}
    return {**base, **({} if message is None else {"message": message}), **more}


def block(message_id: str, *parts: Any) -> dict[str, Any]:
    """An assistant message of Claude Code's: one line for each block."""
    return {"id": message_id, "role": "assistant", "model": "claude-x", "content": list(parts)}


def result(*calls: str) -> dict[str, Any]:
    """A user message of tool results."""
    parts = [{"type": "tool_result", "tool_use_id": call, "content": f"of {call}"} for call in calls]
    return {"role": "user", "content": parts}


def use(call: str) -> dict[str, Any]:
    """A tool call's block."""
    return {"type": "tool_use", "id": call, "name": "Read", "input": {"path": call}}


CLAUDE_CODE = [
    {"type": "summary", "summary": "Listing files", "leafUuid": "z"},
    {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}},
    entry("user", "u1", None, {"role": "user", "content": "Read both."}),
    entry("assistant", "a1", "u1", block("m1", {"type": "thinking", "thinking": "Both at once."})),
    entry("assistant", "a2", "a1", block("m1", use("t1"))),
    entry("assistant", "a3", "a2", block("m1", use("t2"))),
    entry("user", "r1", "a2", result("t1")),
    entry("user", "r2", "a3", result("t2")),
    entry("assistant", "a4", "r2", block("m2", {"type": "text", "text": "Done."})),
    entry("user", "u0", "a4", {"role": "user", "content": "Rewound."}),
    entry("user", "u2", "a4", {"role": "user", "content": "Thanks."}),
    entry("assistant", "a5", "u2", block("m3", {"type": "text", "text": "Gladly."})),
    entry("assistant", "e1", "a5", block("m4", {"type": "text", "text": "API Error"}), isApiErrorMessage=True),
    entry("user", "x1", None, {"role": "user", "content": "Look around."}, isSidechain=True),
    entry("assistant", "x2", "x1", block("m5", {"type": "text", "text": "Seen."}), isSidechain=True),
    entry("system", "b1", None, subtype="compact_boundary"),
    entry("user", "u3", "b1", {"role": "user", "content": "Summary: both were read."}, isCompactSummary=True),
    entry("assistant", "a6", "u3", block("m6", {"type": "text", "text": "Going on."})),
]

TREE = {
    "message_tree_id": "t1",
    "tree_state": "ready_for_export",
    "prompt": {
        "message_id": "p", "role": "prompter", "text": "Hello?", "lang": "en",
        "replies": [
            {"message_id": "worse", "role": "assistant", "text": "What.", "rank": 1, "replies": []},
            {
                "message_id": "best", "role": "assistant", "text": "Hello!", "rank": 0,
                "replies": [
                    {"message_id": "more", "role": "prompter", "text": "More?", "replies": [
                        {"message_id": "last", "role": "assistant", "text": "Yes.", "replies": []},
                        {"message_id": "gone", "role": "assistant", "text": "-", "deleted": True, "replies": []},
                    ]},
                ],
            },
            {"message_id": "open", "role": "prompter", "text": "?", "rank": 2, "replies": []},
        ],
    },
}  # fmt: skip


def flat(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same tree as the messages of the flat files."""

    def walk(message: dict[str, Any], parent: str | None) -> Iterator[dict[str, Any]]:
        kept = {key: value for key, value in message.items() if key != "replies"}
        yield {"rank": None, "deleted": False, **kept, "parent_id": parent, "message_tree_id": tree["message_tree_id"]}
        for reply in message["replies"]:
            yield from walk(reply, message["message_id"])

    yield from walk(tree["prompt"], None)


SWE = {
    "environment": "swe_main",
    "trajectory": [{"action": "ls", "observation": "a b", "response": "Looking.", "thought": "", "state": "{}"}],
    "history": [
        {"role": "system", "content": "You fix bugs.", "agent": "main", "message_type": "system_prompt"},
        {"role": "user", "content": "A demonstration.", "agent": "main", "is_demo": True},
        {"role": "user", "content": [{"type": "text", "text": "Fix it."}], "agent": "main"},
        {"role": "assistant", "content": "Looking.", "thought": "Looking.", "action": "ls", "agent": "main",
         "tool_calls": [CALL]},
        {"role": "tool", "content": "a b", "agent": "main", "tool_call_ids": ["c1"]},
        {"role": "assistant", "content": "Fixed.", "agent": "main"},
    ],
    "info": {"exit_status": "submitted", "submission": "diff", "model_stats": {"api_calls": 2}},
}  # fmt: skip
MINI = {
    "info": {
        "exit_status": "Submitted", "submission": "diff", "model_stats": {"api_calls": 1}, "mini_version": "1.17.0",
        "config": {"model": {"model_name": "m"}},
    },
    "messages": [
        {"role": "system", "content": "You fix bugs."}, ASK, {**ANSWER, "extra": {"response": {}}},
        {"role": "user", "content": "<returncode>0</returncode>"},
    ],
    "trajectory_format": "mini-swe-agent-1",
    "instance_id": "repo__repo-7",
}  # fmt: skip


def wildchat(number: int) -> dict[str, Any]:
    """A row of WildChat's, in its columns."""
    turns = [
        {**turn, "language": "English", "toxic": False, "redacted": False, "turn_identifier": number}
        for turn in (ASK, ANSWER)
    ]
    return {
        "conversation_hash": f"h{number}", "model": "gpt-4", "conversation": turns, "turn": 1, "language": "English",
        "openai_moderation": [{"flagged": False}], "toxic": False, "hashed_ip": f"ip{number % 2}",
    }  # fmt: skip


def lmsys(number: int) -> dict[str, Any]:
    """A row of LMSYS-Chat-1M's, in its columns."""
    return {
        "conversation_id": f"l{number}", "model": "vicuna-13b", "conversation": [ASK, ANSWER], "turn": 1,
        "language": "English", "openai_moderation": [{"flagged": False}], "redacted": False,
    }  # fmt: skip


def scout(number: int, **fields: Any) -> dict[str, Any]:
    """A row of a Scout database, in its columns."""
    event = {"event": "model", "tools": [{"name": "bash", "description": "runs", "parameters": {"properties": {}}}]}
    return {
        "transcript_id": f"t{number}", "source_type": "eval_log", "source_id": "x", "task_set": "ctf",
        "task_id": str(number // 2), "task_repeat": number % 2, "model": "m", "score": "1",
        "messages": json.dumps(INSPECT), "events": json.dumps([event]), "sample_metadata": '{"kind": "web"}', **fields,
    }  # fmt: skip


def log(name: str, cut: bytes = b"") -> Callable[[Path], Path]:
    """Writes an Inspect log of two samples, cut off before the last place where the bytes `cut` stand."""

    def write(folder: Path) -> Path:
        path = folder / name
        chat = [ChatMessageUser(content="Hi", id="u"), ChatMessageAssistant(content="Hello", id="a")]
        samples = [EvalSample(id=n, epoch=1, input="Hi", target="", messages=chat) for n in range(2)]
        dataset = EvalDataset(sample_ids=[sample.id for sample in samples])
        spec = EvalSpec(created="2026-01-01T00:00:00+00:00", task="t", dataset=dataset, model="m", config=EvalConfig())
        write_eval_log(EvalLog(eval=spec, samples=samples, status="success"), str(path))
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(cut)] if cut else content)
        return path

    return write


def _record(number: int, messages: Any, **more: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "messages": messages, **more}


ONE = c.Conversation("run-1", (
    c.Turn("user", "Which files are there?"),
    c.Turn("assistant", "Looking.", "I should look.", (c.Call("c1", "bash", {"cmd": "ls"}, "a b"),)),
    c.Turn("assistant", "Two: a and b."),
))  # fmt: skip
"""One short conversation, for the formats whose encoders the round trips have."""
SPOKEN = c.codex(ONE)
REWOUND = [
    {"sessionId": "g1", "projectHash": "h"},
    {"id": "m1", "type": "user", "content": [{"text": "Wrong."}]},
    {"id": "m2", "type": "gemini", "content": "Oh."},
    {"$rewindTo": "m1"},
    {"id": "m3", "type": "user", "content": [{"text": "Which?"}]},
    {"id": "m4", "type": "info", "content": "Updated."},
    {"id": "m5", "type": "gemini", "content": "Two.", "thoughts": [{"subject": "Looking", "description": "at both"}]},
]
TAU = {
    "info": {"agent_info": {"llm": "m"}, "user_info": {},
             "environment_info": {"domain_name": "air", "policy": "Be kind."}},
    "tasks": [],
    "simulations": [
        {**c.tau2(ONE), "messages": [
            {"role": "assistant", "content": "Hi! How can I help you?"},
            {"role": "user", "content": None,
             "tool_calls": [{"id": "u1", "name": "look", "arguments": {}, "requestor": "user"}]},
            {"id": "u1", "role": "tool", "content": "dark", "requestor": "user"},
            *c.tau2(ONE)["messages"],
        ]},
        {"id": "s2", "task_id": "8", "termination_reason": "user_stop", "messages": None, "ticks": [{}]},
    ],
}  # fmt: skip


def codex_line(kind: str, **payload: Any) -> dict[str, Any]:
    """A line of Codex's."""
    return {"timestamp": "2026-01-01T00:00:00Z", "type": kind, "payload": payload}


def written(data: Any) -> str:
    """JSON as programs write it to be looked at."""
    return json.dumps(data, indent=1)


FIXTURES = (
    Fixture("Inspect log, .eval", "inspect_log", log("a.eval"), 2),
    Fixture("Inspect log, .json", "inspect_log", log("a.json"), 2),
    Fixture("Inspect logs, one a cut zip, one cut JSON", "inspect_log", folder_of(
        log("a.eval"), log("b.eval", b"PK\x01\x02"), log("c.json", b'"id": 1,')), 3,
        ("not a readable Inspect log", "not a readable Inspect log")),
    Fixture("OpenAI lines", "jsonl", lines("a.jsonl", _record(1, AGENT), _record(2, [ASK, ANSWER])), 2),
    Fixture("Anthropic lines", "jsonl", lines("a.jsonl", _record(1, ANTHROPIC, system="Be brief.")), 1),
    Fixture("Inspect messages, lines", "jsonl", lines("a.jsonl", _record(1, INSPECT)), 1),
    Fixture("ShareGPT lines", "jsonl", lines("a.jsonl", {"id": "x", "conversations": SHAREGPT}), 1),
    Fixture("one list", "jsonl", text("a.json", json.dumps([_record(1, AGENT), _record(2, ANTHROPIC)], indent=1)), 2),
    Fixture("one object", "jsonl", text("a.json", json.dumps(_record(1, AGENT), indent=1)), 1),
    Fixture("gzip lines", "jsonl", text("a.jsonl.gz", gzip.compress(json.dumps(_record(1, AGENT)).encode())), 1),
    Fixture("prompts only", "jsonl", lines("a.jsonl", {"prompt": "Hi?"}), 1, options={"prompts": True}),
    Fixture("prompt and completion", "jsonl", lines("a.jsonl", {"prompt": [ASK], "completion": [ANSWER]}), 1),
    Fixture(
        "a text column", "jsonl", lines("a.jsonl", {"id": "w", "text": "Hi?"}), 1,
        options={"prompts": True, "messages_key": "text"},
    ),
    Fixture(
        "mixed schemas", "jsonl",
        lines("a.jsonl", _record(1, AGENT), {"id": "y", "conversations": SHAREGPT}, {"x": 1}, [1], _record(2, "hi")),
        2, ("not a list", "not a JSON object", "not a list"),
    ),
    Fixture(
        "damaged lines", "jsonl",
        lines("a.jsonl", b'{"id": "r0", "m": [', _record(1, AGENT), b'{"id": "\xff"}', b"[" * 9999, b"{nope}"), 1,
        ("not JSON", "not UTF-8", "nested too deeply", "not JSON"),
    ),
    Fixture(
        "unknown roles and parts", "jsonl",
        lines(
            "a.jsonl", _record(1, [{"role": "narrator", "content": "x"}]), _record(2, AGENT),
            _record(3, [{"role": "user", "content": [{"type": "smell"}]}]),
        ), 1, ("unknown role 'narrator'", "unknown type 'smell'"),
    ),
    Fixture(
        "images and files", "jsonl",
        lines("a.jsonl", _record(1, [
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
                {"type": "file", "file": {"filename": "a.txt", "file_data": "AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "text", "text": "What is this?"},
            ]}, ANSWER,
        ])), 1,
    ),
    Fixture(
        "null bytes and lone surrogates", "jsonl",
        lines("a.jsonl", _record(1, [{"role": "user", "content": "a\x00b"}, ANSWER]),
              b'{"id": "r2", "messages": [{"role": "assistant", "content": "\\ud83d"}]}'),
        1, ("lone surrogate",),
    ),
    Fixture(
        "missing, repeated and unknown tool ids", "jsonl",
        lines("a.jsonl", _record(1, [
            {"role": "tool", "content": "early", "tool_call_id": "zz"},
            {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": None}, CALL, CALL]},
            {"role": "tool", "content": "no id"}, {"role": "tool", "content": "x", "tool_call_id": "c1"}, ANSWER,
        ])), 1,
    ),
    Fixture("ten thousand turns", "jsonl", lines("a.jsonl", _record(1, [ASK, ANSWER] * 5000)), 1),
    Fixture(
        "one huge message", "jsonl",
        lines("a.jsonl", _record(1, [{"role": "assistant", "content": "x" * 2_000_000}]), _record(2, AGENT)), 1,
        ("over 1 MB",), options={"max_record_mb": 1},
    ),
    Fixture(
        "one huge message in a list", "jsonl",
        text("a.json", json.dumps([
            _record(1, AGENT), _record(2, [{"role": "assistant", "content": '\\"]}' * 500_000}]), _record(3, AGENT),
        ])), 2, ("over 1 MB",), options={"max_record_mb": 1},
    ),
    Fixture("ids that stand twice", "jsonl", lines("a.jsonl", _record(1, AGENT), _record(1, AGENT)), 1, ("id 'r1'",)),
    Fixture(
        "a list that ends in mid-record", "jsonl",
        text("a.json", json.dumps([_record(1, AGENT), _record(2, AGENT)])[:-9]), 1, ("the file ends inside",),
    ),
    Fixture("a damaged gzip", "jsonl", text("a.jsonl.gz", gzip.compress(json.dumps(_record(1, AGENT)).encode() + b"\n")
            + gzip.compress(b"{}")[:5]), 1, ("damaged gzip",)),
    Fixture("ShareGPT pieces", "sharegpt", text("a.json", json.dumps(
        [{"id": f"x_{n}", "conversations": SHAREGPT} for n in range(2)])), 2),
    Fixture("WildChat", "parquet", table("w.parquet", [wildchat(n) for n in range(5)]), 5,
            options={"family_key": "hashed_ip"}),
    Fixture("LMSYS-Chat-1M", "parquet", table("l.parquet", [lmsys(n) for n in range(3)]), 3),
    Fixture("any chat column", "parquet",
            table("p.parquet", [{"n": n, "dialogo": [ASK, ANSWER]} for n in range(3)]), 3),
    Fixture("messages as JSON text", "parquet",
            table("p.parquet", [{"id": str(n), "messages": json.dumps(AGENT if n else {})} for n in range(3)]),
            2, ("not a list",)),
    Fixture("Scout database", "scout", folder_of(
        table("transcripts_a.parquet", [scout(n) for n in range(3)]),
        table("transcripts_b.parquet", [scout(3), scout(4, messages="[{]")])), 4, ("JSON of Inspect's messages",)),
    Fixture("OpenAssistant trees", "oasst", lines("t.jsonl", TREE, {**TREE, "message_tree_id": "t2"}), 2),
    Fixture("OpenAssistant trees, all branches", "oasst", lines("t.jsonl", TREE), 2, ("without an assistant turn",),
            options={"branches": Branches.ALL}),
    Fixture("OpenAssistant messages, Parquet", "oasst", table("o.parquet", list(flat(TREE))), 1),
    Fixture("OpenAssistant circle", "oasst", lines("t.jsonl", *flat(TREE),
            {"message_id": "k", "parent_id": "l", "role": "assistant", "text": "?", "message_tree_id": "t1"},
            {"message_id": "l", "parent_id": "k", "role": "assistant", "text": "?", "message_tree_id": "t1"}),
            1, ("2 messages that hang on none",)),
    Fixture("SWE-agent", "swe_agent", text("repo__repo-7.traj", json.dumps(SWE, indent=1)), 1),
    Fixture("mini-swe-agent", "swe_agent", text("repo__repo-7.traj.json", json.dumps(MINI)), 1),
    Fixture("cut trajectories", "swe_agent", folder_of(
        text("a.traj", json.dumps(SWE, indent=1)), text("b.traj", json.dumps(SWE, indent=1)[:300]),
        text("c.traj", b"\x1f\x8bll\x8b")), 1, ("not JSON", "damaged gzip")),
    Fixture("Claude Code", "claude_code", lines("s1.jsonl", *CLAUDE_CODE), 3),
    Fixture("Claude Code, all branches", "claude_code", lines("s1.jsonl", *CLAUDE_CODE), 4,
            options={"branches": Branches.ALL}),
    Fixture("Claude Code circle", "claude_code", lines(
        "s1.jsonl", *CLAUDE_CODE, *(entry("user", a, b, ASK) for a, b in ("kl", "lk", "nk")), b"{"), 3,
        ("not JSON", "3 lines that are, or hang on, their own ancestors")),
    Fixture("a bare list", "messages", text("run.json", written(AGENT)), 1),
    Fixture("bare lists in a list", "messages", text("runs.json", written([AGENT, ANTHROPIC])), 2),
    Fixture("a bare list a line", "messages", lines("runs.jsonl", AGENT, INSPECT), 2),
    Fixture("one message a line", "messages", lines("run.jsonl", *AGENT), 1),
    Fixture("one message a line, of several conversations", "messages",
            lines("runs.jsonl", *({**m, "session_id": s} for s in "ab" for m in AGENT)), 2),
    Fixture("mini-swe-agent, a bare list", "messages", text("repo__repo-7.traj.json", written(c.mini(ONE))), 1),
    Fixture("bare lists, cut", "messages", text("runs.json", written([AGENT, AGENT])[:-9]), 1, ("ends inside",)),
    Fixture("a damaged line among messages", "messages", lines("run.jsonl", ASK, b"{nope}", ANSWER), 1, ("not JSON",)),
    Fixture("Responses items", "jsonl", lines("a.jsonl", _record(1, c.items(ONE.turns))), 1),
    Fixture("Responses items, one unknown", "jsonl", lines(
        "a.jsonl", _record(1, [*c.items(ONE.turns), {"type": "hologram"}]), _record(2, c.items(ONE.turns))), 1,
        ("unknown type 'hologram'",)),
    Fixture("Responses exchanges", "responses", lines("a.jsonl", c.exchange(ONE), {"output": "none"}), 1,
            ("not a list",)),
    Fixture("Codex", "codex", lines("rollout.jsonl", *SPOKEN), 1),
    Fixture("Codex, compacted and rolled back", "codex", lines(
        "rollout.jsonl", *SPOKEN, codex_line("event_msg", type="thread_rolled_back", num_turns=1), *SPOKEN[2:],
        codex_line("compacted", message="Summary: two files."), *SPOKEN[2:]), 2),
    Fixture("Codex, all branches", "codex", lines(
        "rollout.jsonl", *SPOKEN, codex_line("event_msg", type="thread_rolled_back", num_turns=1), *SPOKEN[2:]), 2,
        options={"branches": Branches.ALL}),
    Fixture("Codex, older", "codex", lines(
        "rollout.jsonl", {"id": "s1", "timestamp": "t", "instructions": None}, {"record_type": "state"},
        *c.items(ONE.turns), b"{"), 1, ("not JSON",)),
    Fixture("ATIF", "atif", text("trajectory.json", written(c.atif(ONE))), 1),
    Fixture("ATIF with a sub-agent", "atif", text("trajectory.json", written(
        {**c.atif(ONE), "subagent_trajectories": [{**c.atif(ONE), "session_id": "sub"}, {"steps": "none"}]})), 2,
        ("'steps' is not a list",)),
    Fixture("tau2", "tau2", text("results.json", written(TAU)), 1, ("only ticks",)),
    Fixture("tau2, one simulation a file", "tau2", text("sim.json", written(c.tau2(ONE))), 1),
    Fixture("tau2, cut", "tau2", text("results.json", written(TAU)[:-60]), 1, ("cut off, after simulation 1",)),
    Fixture("Gemini contents", "jsonl", lines("a.jsonl", _record(1, c.contents(ONE.turns))), 1),
    Fixture("Gemini requests", "gemini", lines("a.jsonl", c.gemini_request(ONE), {"request": {"contents": 1}}), 1,
            ("neither 'contents' nor 'history'",)),
    Fixture("Gemini CLI checkpoint", "gemini", text("checkpoint.json", written({"history": c.contents(ONE.turns)})), 1),
    Fixture("Gemini CLI", "gemini_cli", text("session.json", written(c.gemini_session(ONE))), 1),
    Fixture("Gemini CLI, lines", "gemini_cli", lines("session.jsonl", *REWOUND), 1),
    Fixture("Gemini CLI, all branches", "gemini_cli", lines("session.jsonl", *REWOUND), 2,
            options={"branches": Branches.ALL}),
    Fixture("LangChain messages", "jsonl", lines(
        "a.jsonl", *(_record(n, c.langchain(ONE.turns, form)) for n, form in enumerate(("type", "data", "lc")))), 3),
    Fixture("AI SDK, UIMessages", "jsonl", lines(
        "a.jsonl", _record(1, c.ui_messages(ONE.turns)), _record(2, c.ui_messages_4(ONE.turns)),
        _record(3, [{"role": "assistant", "parts": [{"type": "step-start"}, {"type": "hologram", "url": "x"}]}])), 2,
        ("unknown type 'hologram'",)),
    Fixture("AI SDK, ModelMessages", "messages", lines("a.jsonl", *c.model_messages(ONE.turns)), 1),
    Fixture("LangSmith runs", "langsmith", lines(
        "a.jsonl", {**c.run(ONE), "run_type": "chain", "id": "outer", "child_runs": [c.run(ONE)]},
        {"id": "t", "run_type": "tool", "inputs": {"input": "x"}}, [1]), 1, ("not a JSON object",)),
    Fixture("ChatGPT", "chatgpt", text("conversations.json", json.dumps([c.chatgpt(ONE), {"mapping": []}])), 1,
            ("no 'mapping'",)),
    Fixture("ChatGPT, all branches", "chatgpt", text("conversations.json", json.dumps([c.chatgpt(ONE)])), 1,
            ("no assistant turn",), options={"branches": Branches.ALL}),
    Fixture("preference pairs", "dpo", lines(
        "a.jsonl", c.pair(ONE), {"prompt": "Hi?", "chosen": "Hello!", "rejected": "What."},
        {"chosen": "\n\nHuman: Hi?\n\nAssistant: Hello!", "rejected": "\n\nHuman: Hi?\n\nAssistant: What."}), 3),
    Fixture("preference pairs, both answers", "dpo", table(
        "a.parquet", [{"prompt": "Hi?", "chosen": [ASK, ANSWER], "rejected": [ASK, ANSWER]}]), 2,
        options={"answers": Answers.BOTH}),
)  # fmt: skip


_MOST = 4
"""Keys of a fixture that are named."""


def _short(reason: str) -> str:
    """Without what Python's JSON decoder says, which changes with its version."""
    return re.sub(r"not JSON: .*", "not JSON", reason.replace("|", "/"))[:90]


def printed() -> Iterator[str]:
    """The table of readers and fixtures, in Markdown."""
    yield "| fixture | reader | records | transcripts | left out | keys not read |"
    yield "|---|---|---:|---:|---|---|"
    for fixture in FIXTURES:
        with tempfile.TemporaryDirectory() as folder:
            reader, items, notes = fixture.read(Path(folder))
        unread = ", ".join(sorted(notes.unread)[:_MOST]) + (" ..." if len(notes.unread) > _MOST else "")
        out = [item for item in items if isinstance(item, Transcript)]
        reasons = "; ".join(_short(item.reason) for item in items if isinstance(item, Skipped))
        yield f"| {fixture.name} | {reader} | {len(items)} | {len(out)} | {reasons or '-'} | {unread or '-'} |"


if __name__ == "__main__":
    print("\n".join(printed()))
