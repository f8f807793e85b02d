"""Variants of public shapes: what they say of roles, tools, thinking and errors is read, or the mend is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool

from nla_eval.errors import InputError
from nla_eval.sources import SourceOptions, read
from nla_eval.transcript import Arm, Transcript, content_parts

ASKED = {"role": "user", "content": "Q?"}
SAID = {"role": "assistant", "content": "A."}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def transcript(record: Any, folder: Path, **options: Any) -> tuple[Transcript, SourceOptions]:
    (folder / "a.jsonl").write_text(json.dumps(record) + "\n")
    given = SourceOptions(suite="s", arm=Arm.EVALUATION, **options)
    found = list(read(folder / "a.jsonl", given))
    assert len(found) == 1
    assert isinstance(found[0], Transcript), found[0]
    return found[0], given


@pytest.mark.parametrize(
    "mark", [{"status": "error"}, {"status": "FAILED"}, {"isError": True}, {"is_error": 1}, {"error": "boom"}], ids=str
)
def test_a_result_marked_as_a_failure_is_one(mark: dict[str, Any], tmp_path: Path) -> None:
    result = {"role": "tool", "tool_call_id": "c", "content": "boom", **mark}
    made, _ = transcript({"messages": [ASKED, {**SAID, "tool_calls": [CALL]}, result, SAID]}, tmp_path)
    tool = made.messages[2]
    assert isinstance(tool, ChatMessageTool)
    assert tool.error is not None
    assert tool.error.message == "boom"


@pytest.mark.parametrize("mark", [{"status": "success"}, {"is_error": False}, {"error": None}], ids=str)
def test_a_result_marked_as_a_success_is_no_failure(mark: dict[str, Any], tmp_path: Path) -> None:
    result = {"role": "tool", "tool_call_id": "c", "content": "fine", **mark}
    made, _ = transcript({"messages": [ASKED, {**SAID, "tool_calls": [CALL]}, result, SAID]}, tmp_path)
    assert isinstance(made.messages[2], ChatMessageTool)
    assert made.messages[2].error is None


def test_calls_results_and_thinking_of_bedrock_are_read(tmp_path: Path) -> None:
    thinking = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "x"}}}
    call = {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}}
    result = {"toolResult": {"toolUseId": "c", "content": [{"text": "R"}, {"json": {"b": 2}}], "status": "error"}}
    messages = [
        {"role": "user", "content": [{"text": "Q?"}]},
        {"role": "assistant", "content": [thinking, {"text": "A."}, call]},
        {"role": "user", "content": [result, {"text": "Go on."}]},
        {"role": "assistant", "content": [{"text": "B."}]},
    ]
    made, options = transcript({"system": [{"text": "S."}], "messages": messages, "stopReason": "max_tokens"}, tmp_path)
    assert [m.role for m in made.messages] == ["system", "user", "assistant", "tool", "user", "assistant"]
    answer, tool = made.messages[2], made.messages[3]
    assert isinstance(answer, ChatMessageAssistant)
    assert isinstance(tool, ChatMessageTool)
    assert content_parts(answer) == [("thinking", "Hm."), ("text", "A.")]
    assert [(c.id, c.function, c.arguments) for c in answer.tool_calls or ()] == [("c", "f", {"a": 1})]
    assert [text for _, text in content_parts(tool)] == ["R", '{"b": 2}']
    assert tool.error is not None
    assert [fact.stop for fact in made.turn_facts] == [None, "max_tokens"]
    assert not options.notes.unread


def test_roles_in_capitals_are_the_same_roles(tmp_path: Path) -> None:
    made, _ = transcript({"messages": [{"role": "USER", "content": "Q?"}, {"from": "GPT", "value": "A."}]}, tmp_path)
    assert [m.role for m in made.messages] == ["user", "assistant"]


def test_a_channel_that_is_read_is_not_counted_as_unread(tmp_path: Path) -> None:
    channels = [{**SAID, "channel": "analysis"}, {**SAID, "channel": "final"}]
    made, options = transcript({"messages": [ASKED, *channels]}, tmp_path)
    assert [content_parts(m)[0][0] for m in made.messages] == ["text", "thinking", "text"]
    assert not options.notes.unread


@pytest.mark.parametrize("holder", ["request", "request_body", "inputs"])
def test_messages_inside_an_object_are_named_and_read_by_that_name(holder: str, tmp_path: Path) -> None:
    record = {holder: {"model": "m", "messages": [ASKED]}, "response": {"choices": [{"message": SAID}]}}
    with pytest.raises(InputError, match=f"--messages-key {holder}.messages"):
        transcript(record, tmp_path)
    made, _ = transcript(record, tmp_path, messages_key=f"{holder}.messages")
    assert [m.role for m in made.messages] == ["user", "assistant"]


@pytest.mark.parametrize("parent", [None, 7, ["a"], {"a": 1}], ids=str)
def test_a_parent_that_is_no_name_begins_a_branch(parent: Any, tmp_path: Path) -> None:
    def node(key: str, parent: Any, role: str) -> dict[str, Any]:
        content = {"content_type": "text", "parts": [key]}
        return {"id": key, "parent": parent, "message": {"id": key, "author": {"role": role}, "content": content}}

    mapping = {"q": node("q", parent, "user"), "a": node("a", "q", "assistant")}
    (tmp_path / "a.json").write_text(json.dumps([{"conversation_id": "c", "title": "t", "mapping": mapping}]))
    found = list(read(tmp_path / "a.json", SourceOptions(suite="s", arm=Arm.EVALUATION)))
    assert [[m.text for m in item.messages] for item in found if isinstance(item, Transcript)] == [["q", "a"]]
