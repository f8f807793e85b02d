"""The JSONL source keeps every turn of the OpenAI shape, and a bad line never stops the reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ContentImage, ContentReasoning

from nla_eval.errors import InputError
from nla_eval.sources import SOURCES, Item, Skipped, SourceOptions
from nla_eval.transcript import Arm, Transcript

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"cmd": "ls", "n": 2}'}}
OPTIONS = SourceOptions(suite="mine", arm=Arm.DEPLOYMENT, licence="CC0-1.0")


def write(tmp_path: Path, *records: Any) -> Path:
    path = tmp_path / "chats.jsonl"
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def read(path: Path | None, options: SourceOptions = OPTIONS) -> list[Item]:
    return list(SOURCES.get("jsonl")(path, options))


def one(tmp_path: Path, record: Any, options: SourceOptions = OPTIONS) -> Transcript:
    (item,) = read(write(tmp_path, record), options)
    assert isinstance(item, Transcript), item
    return item


def test_a_call_its_result_and_the_text_after_it_stay_three_messages_in_order(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "list"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "a b"},
        {"role": "assistant", "content": "two files"},
    ]
    transcript = one(tmp_path, {"id": "x", "messages": messages})
    assert [m.role for m in transcript.messages] == ["user", "assistant", "tool", "assistant"]
    _, calling, result, last = transcript.messages
    assert isinstance(calling, ChatMessageAssistant)
    assert calling.tool_calls is not None
    assert (calling.text, calling.tool_calls[0].function) == ("", "bash")
    assert calling.tool_calls[0].arguments == {"cmd": "ls", "n": 2}
    assert isinstance(result, ChatMessageTool)
    assert (result.text, result.function) == ("a b", "bash")
    assert last.text == "two files"


def test_ids_and_digest_are_the_same_on_every_import(tmp_path: Path) -> None:
    first, second = (one(tmp_path, {"id": "x", "messages": CHAT}) for _ in range(2))
    assert [m.id for m in first.messages] == [m.id for m in second.messages]
    assert len({m.id for m in first.messages}) == 2
    assert first.digest == second.digest


def test_reasoning_and_lists_of_parts_become_typed_content(tmp_path: Path) -> None:
    seen = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    answer = {"role": "assistant", "content": "a cat", "reasoning": "whiskers"}
    user, assistant = one(tmp_path, {"id": "x", "messages": [{"role": "user", "content": seen}, answer]}).messages
    assert isinstance(user.content[1], ContentImage)
    assert isinstance(assistant.content[0], ContentReasoning)
    assert assistant.content[0].reasoning == "whiskers"
    assert assistant.text == "a cat"


def test_fields_of_the_record_and_of_the_options_reach_the_transcript(tmp_path: Path) -> None:
    record = {"id": 7, "messages": CHAT, "outcome": "declined", "model": "m", "variant": "told", "meta": {"task": 3}}
    transcript = one(tmp_path, record, SourceOptions(suite="s", arm=Arm.EVALUATION, family_key="meta.task"))
    assert (transcript.id, transcript.family, transcript.outcome, transcript.variant) == ("7", "3", "declined", "told")
    assert (transcript.arm, transcript.provenance.model, transcript.metadata) == (Arm.EVALUATION, "m", {"task": "3"})
    assert transcript.provenance.source == "chats.jsonl"


def test_without_a_family_a_record_is_its_own(tmp_path: Path) -> None:
    assert one(tmp_path, {"id": "x", "messages": CHAT}).family == "x"
    assert one(tmp_path, {"id": "x", "family": "f", "messages": CHAT}).family == "f"


@pytest.mark.parametrize(
    ("arguments", "expected", "flagged"),
    [
        ('{"a": 1}', {"a": 1}, False),
        ({"a": 1}, {"a": 1}, False),
        ("", {}, False),
        ("ls -l", {"input": "ls -l"}, True),
        ("[1]", {"input": [1]}, True),
    ],
)
def test_tool_arguments_are_never_lost(tmp_path: Path, arguments: Any, expected: Any, flagged: bool) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    messages = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    (message,) = one(tmp_path, {"id": "x", "messages": messages}).messages
    assert isinstance(message, ChatMessageAssistant)
    assert message.tool_calls is not None
    assert message.tool_calls[0].arguments == expected
    assert (message.tool_calls[0].parse_error is not None) == flagged


BAD = {
    "broken JSON": (b'{"id": "x", "messages": [', "not JSON"),
    "not UTF-8": (b'{"id": "\xff"}', "not UTF-8"),
    "not an object": ([1], "not a JSON object"),
    "nested too deeply": (b"[" * 100_000, "nested too deeply"),
    "no messages": ({"id": "x", "messages": []}, "no messages"),
    "messages missing": ({"id": "x"}, "'messages' is not a list"),
    "no assistant turn": ({"id": "x", "messages": CHAT[:1]}, "no assistant turn"),
    "unknown role": ({"id": "x", "messages": [{"role": "narrator", "content": ""}]}, "unknown role 'narrator'"),
    "role missing": ({"id": "x", "messages": [{"content": ""}]}, "unknown role 'None'"),
    "message not an object": ({"id": "x", "messages": ["hi"]}, "message 0 is not an object"),
    "content a number": ({"id": "x", "messages": [{"role": "user", "content": 3}]}, "neither text"),
    "unknown part": ({"id": "x", "messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "'smell'"),
    "nameless call": ({"id": "x", "messages": [{"role": "assistant", "tool_calls": [{}]}]}, "names no function"),
    "bad tools": ({"id": "x", "messages": CHAT, "tools": [3]}, "'tools'"),
    "same id again": ({"id": "0", "messages": CHAT}, "id '0'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_seven_is_named_and_the_rest_is_read(tmp_path: Path, name: str) -> None:
    bad, reason = BAD[name]
    good = [{"id": str(n), "messages": CHAT} for n in range(8)]
    items = read(write(tmp_path, *good[:6], bad, *good[6:]))
    skipped = [item for item in items if isinstance(item, Skipped)]
    assert len(items) == 9
    assert len(skipped) == 1
    assert reason in skipped[0].reason
    assert "\n" not in str(skipped[0])
    assert skipped[0].where.startswith("chats.jsonl")
    if name != "same id again":
        assert items.index(skipped[0]) == 6
        assert str(skipped[0]).startswith("chats.jsonl line 7: ")


def test_prompts_without_an_answer_are_taken_when_asked_for(tmp_path: Path) -> None:
    options = SourceOptions(suite="s", arm=Arm.EVALUATION, prompts=True)
    assert len(one(tmp_path, {"id": "x", "messages": CHAT[:1]}, options).messages) == 1


def test_further_roles_can_be_declared(tmp_path: Path) -> None:
    record = {"id": "x", "messages": [{"role": "tool_output", "content": "ok"}, *CHAT]}
    options = SourceOptions(suite="s", arm=Arm.DEPLOYMENT, roles={"tool_output": "user"})
    assert [m.role for m in one(tmp_path, record, options).messages] == ["user", "user", "assistant"]


def test_the_limit_counts_transcripts_and_reads_no_further(tmp_path: Path) -> None:
    path = write(tmp_path, b"broken", *({"id": str(n), "messages": CHAT} for n in range(5)))
    items = read(path, SourceOptions(suite="s", arm=Arm.DEPLOYMENT, limit=2))
    assert [type(item) for item in items] == [Skipped, Transcript, Transcript]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"nope\n"])
def test_a_file_without_one_usable_line_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^chats.jsonl: no usable transcript"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl"):
        read(tmp_path / "gone.jsonl")


def test_a_byte_order_mark_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    line = json.dumps({"id": "x", "messages": CHAT}).encode()
    assert len(read(write(tmp_path, b"\xef\xbb\xbf" + line, b"", b"  "))) == 1


def test_unknown_source_lists_what_exists() -> None:
    with pytest.raises(InputError, match="inspect_log, jsonl, langsmith, messages, oasst, parquet"):
        SOURCES.get("csv")


@pytest.mark.parametrize(
    ("name", "count", "families"),
    [("tau_bench_airline", 100, 50), ("oasst_en_100", 46, 46), ("swe_agent_trajs", 27, 27)],
)
def test_shared_transcripts_are_read_whole(
    shared_data: Callable[[str], Path], name: str, count: int, families: int
) -> None:
    path = shared_data(f"{name}/transcripts.jsonl")
    items = read(path, SourceOptions(suite="s", arm=Arm.EVALUATION, family_key="meta.task_id"))
    transcripts = [item for item in items if isinstance(item, Transcript)]
    assert len(transcripts) == len(items) == count
    assert len({t.family for t in transcripts}) <= families
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [len(t.messages) for t in transcripts] == [len(r["messages"]) for r in raw]
