"""Properties of every reader: whatever the bytes, a record is a transcript or a reason, and nothing else is raised."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_ai.model import ChatMessageAssistant

from nla_eval.sources import SourceOptions
from nla_eval.transcript import Arm, Transcript, content_parts
from tests.sources.fixtures import FIXTURES, Fixture
from tests.sources.held import outcome

OPTIONS = SourceOptions(suite="s", arm=Arm.EVALUATION, prompts=True)
FILES = [f for f in FIXTURES if f.name in {
    "OpenAI lines", "Anthropic lines", "Inspect messages, lines", "ShareGPT lines", "one list", "gzip lines",
    "ShareGPT pieces", "LMSYS-Chat-1M", "OpenAssistant trees", "OpenAssistant messages, Parquet", "SWE-agent",
    "mini-swe-agent", "Claude Code", "a bare list", "one message a line", "Responses items", "Responses exchanges",
    "Codex", "ATIF", "tau2", "Gemini contents", "Gemini requests", "Gemini CLI", "LangChain messages", "LangSmith runs",
    "ChatGPT", "preference pairs",
}]  # fmt: skip
JSON_FILES = [
    fixture
    for fixture in FILES
    if fixture.name != "gzip lines" and "Parquet" not in fixture.name and "LMSYS" not in fixture.name
]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
words = st.text(st.characters(codec="utf-8"), max_size=30)
names = st.text(string.ascii_lowercase, min_size=1, max_size=8)


@pytest.mark.parametrize("fixture", FILES, ids=lambda fixture: fixture.name)
@given(data=st.data())
@QUICK
def test_damage_anywhere_is_a_reason_or_one_clear_error(fixture: Fixture, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = fixture.write(Path(folder))
        content = bytearray(path.read_bytes())
        kind = data.draw(st.sampled_from(["cut", "flip", "insert", "zero"]))
        at = data.draw(st.integers(0, len(content) - 1))
        if kind == "cut":
            content = content[:at]
        elif kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            content[at : at + 9] = b"\0" * 9
        path.write_bytes(content)
        outcome(fixture.reader, path, OPTIONS)


@pytest.mark.parametrize("fixture", JSON_FILES, ids=lambda fixture: fixture.name)
@given(data=st.data())
@QUICK
def test_any_value_in_any_field_is_a_reason_or_a_transcript(fixture: Fixture, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = fixture.write(Path(folder))
        records = _records(path.read_text())
        _replace_somewhere(records, data)
        path.write_text("\n".join(json.dumps(record) for record in records))
        outcome(fixture.reader, path, OPTIONS)


def _records(content: str) -> list[Any]:
    try:
        whole = json.loads(content)
    except ValueError:
        return [json.loads(line) for line in content.splitlines()]
    return whole if isinstance(whole, list) else [whole]


def _replace_somewhere(value: Any, data: st.DataObject) -> None:
    """Put any JSON value in place of one that stands somewhere below `value`."""
    while True:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        below = value[key]
        if isinstance(below, dict | list) and below and data.draw(st.booleans()):
            value = below
            continue
        value[key] = data.draw(json_values)
        return


@st.composite
def openai_chats(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A chat in OpenAI's shape, with calls, in any order of roles."""
    chat = []
    for role in draw(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=8)):
        message: dict[str, Any] = {"role": role, "content": draw(st.none() | words)}
        if role == "assistant" and draw(st.booleans()):
            arguments = json.dumps({draw(names): draw(words)})
            message["tool_calls"] = [
                {"id": draw(names), "type": "function", "function": {"name": draw(names), "arguments": arguments}}
                for _ in range(draw(st.integers(1, 3)))
            ]
        if role == "tool":
            message["tool_call_id"] = draw(names)
        chat.append(message)
    return chat


@given(openai_chats())
@settings(max_examples=150, deadline=None)
def test_no_turn_no_word_and_no_call_of_openais_shape_is_lost_or_moved(chat: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text(json.dumps({"id": "x", "messages": chat}))
        items = outcome("jsonl", path, OPTIONS)
    assert items is not None
    (found,) = items
    assert isinstance(found, Transcript)
    assert [m.role for m in found.messages] == [m["role"] for m in chat]
    assert ["".join(t for _, t in content_parts(m)) for m in found.messages] == [m["content"] or "" for m in chat]
    for message, raw in zip(found.messages, chat, strict=True):
        calls = message.tool_calls or [] if isinstance(message, ChatMessageAssistant) else []
        wanted = raw.get("tool_calls", [])
        assert [(c.id, c.function) for c in calls] == [(c["id"], c["function"]["name"]) for c in wanted]
        assert [c.arguments for c in calls] == [json.loads(c["function"]["arguments"]) for c in wanted]


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_shapes_and_containers_of_one_chat_have_one_digest(turns: list[tuple[str, str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    openai = [{"role": r, "content": t} for pair in turns for r, t in zip(("user", "assistant"), pair, strict=True)]
    sharegpt = [{"from": "human" if m["role"] == "user" else "gpt", "value": m["content"]} for m in openai]
    anthropic = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in openai]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.jsonl").write_text(json.dumps({"messages": openai}))
        (folder / "b.json").write_text(json.dumps([{"conversations": sharegpt}]))
        (folder / "c.jsonl").write_text(json.dumps({"messages": anthropic}))
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"conversation": openai}]), folder / "d.parquet")
        found = [
            outcome(reader, folder / file, OPTIONS)
            for reader, file in (
                ("jsonl", "a.jsonl"),
                ("jsonl", "b.json"),
                ("jsonl", "c.jsonl"),
                ("parquet", "d.parquet"),
            )
        ]
    digests = {item.digest for items in found for item in items or [] if isinstance(item, Transcript)}
    assert len(digests) == 1
    assert all(items is not None and len(items) == 1 for items in found)
