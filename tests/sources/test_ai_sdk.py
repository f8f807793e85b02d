"""Messages of the AI SDK: what each kind of part becomes, and what of it no model sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool, ContentDocument, ContentImage

from nla_eval.sources import Skipped, SourceOptions, read
from nla_eval.transcript import Arm, content_parts

ASKED = {"role": "user", "parts": [{"type": "text", "text": "Weather?"}]}


def answer(*parts: Any, **beside: Any) -> list[Any]:
    return [ASKED, {"role": "assistant", "parts": list(parts), **beside}]


def tool(name: str = "weather", call_id: str = "a", **held: Any) -> dict[str, Any]:
    return {"type": f"tool-{name}", "toolCallId": call_id, **held}


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def before_parts(**held: Any) -> list[Any]:
    return [{"role": "user", "content": "Weather?"}, {"role": "assistant", **held}]


def made(messages: list[Any], folder: Path) -> tuple[list[ChatMessage], SourceOptions]:
    options = SourceOptions(suite="s", arm=Arm.EVALUATION)
    (folder / "a.jsonl").write_text(json.dumps({"messages": messages}))
    (found,) = read(folder / "a.jsonl", options)
    assert not isinstance(found, Skipped), str(found)
    return found.messages, options


def told(message: ChatMessage) -> str:
    """A message in one line: role, thinking, words, calls, failure."""
    words = [f"({text})" if kind == "thinking" else text for kind, text in content_parts(message) if text]
    calls = (message.tool_calls or []) if isinstance(message, ChatMessageAssistant) else []
    words += [f"{call.function}{json.dumps(call.arguments)}" for call in calls]
    failed = " failed" if isinstance(message, ChatMessageTool) and message.error else ""
    return f"{message.role}{failed}: {' '.join(words)}"


DONE = {"state": "output-available", "input": {"city": "Rome"}}
CASES: dict[str, tuple[list[Any], list[str]]] = {
    "text after a result is another turn": (
        answer(said("Looking."), tool(**DONE, output="20"), said("It is 20.")),
        ['assistant: Looking. weather{"city": "Rome"}', "tool: 20", "assistant: It is 20."],
    ),
    "parallel calls are one turn": (
        answer(tool(**DONE, output="20"), tool("wind", "b", **DONE, output=[3])),
        ['assistant: weather{"city": "Rome"} wind{"city": "Rome"}', "tool: 20", "tool: [3]"],
    ),
    "a step begins a turn": (
        answer({"type": "step-start"}, said("One."), {"type": "step-start"}, said("Two.")),
        ["assistant: One.", "assistant: Two."],
    ),
    "a failed call": (
        answer(tool(state="output-error", rawInput="{", errorText="no JSON")),
        ['assistant: weather{"input": "{"}', "tool failed: no JSON"],
    ),
    "a call that was denied": (
        answer(tool(state="output-denied", input={}, approval={"id": "p", "approved": False, "reason": "Not now."})),
        ["assistant: weather{}", "tool failed: Not now."],
    ),
    "a call that waits": (answer(tool(state="input-available", input={})), ["assistant: weather{}"]),
    "a call that was cut": (answer(tool(state="input-streaming")), ["assistant: weather{}"]),
    "a name with dashes": (answer(tool("get-the-wind", state="input-available")), ["assistant: get-the-wind{}"]),
    "thinking, in both spellings": (
        answer({"type": "reasoning", "text": "Hm."}, {"type": "reasoning", "reasoning": "So."}, said("Yes.")),
        ["assistant: (Hm.) (So.) Yes."],
    ),
    "invocations of version 4": (
        answer({"type": "tool-invocation", "toolInvocation": {
            "toolName": "f", "toolCallId": "a", "state": "result", "args": {"x": 1}, "result": {"y": 2}}}),
        ['assistant: f{"x": 1}', 'tool: {"y": 2}'],
    ),
    "invocations before there were parts": (
        before_parts(content="Done.", reasoning="Hm.", toolInvocations=[
            {"toolName": "f", "toolCallId": "a", "state": "result", "args": {}, "result": "one"},
            {"toolName": "g", "toolCallId": "b", "state": "result", "args": {}, "result": "two", "step": 1}]),
        ["assistant: (Hm.) f{}", "tool: one", "assistant: g{}", "tool: two", "assistant: Done."],
    ),
    "an invocation that waits, said before": (
        before_parts(content="Wait.", toolInvocations=[{"toolName": "f", "toolCallId": "a", "state": "call"}]),
        ["assistant: Wait. f{}"],
    ),
    "no invocations": (before_parts(content="Done.", toolInvocations=[]), ["assistant: Done."]),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "wanted"), CASES.values(), ids=CASES.keys())
def test_parts(messages: list[Any], wanted: list[str], tmp_path: Path) -> None:
    found, options = made(messages, tmp_path)
    assert [told(message) for message in found] == ["user: Weather?", *wanted]
    assert not options.notes.unread


OUTPUTS: list[tuple[dict[str, Any], str]] = [
    ({"output": {"type": "json", "value": {"t": 20}}}, 'tool: {"t": 20}'),
    ({"output": {"type": "error-text", "value": "no"}}, "tool failed: no"),
    ({"output": {"type": "execution-denied"}}, "tool failed: Tool execution denied."),
    ({"output": {"type": "content", "value": [{"type": "text", "text": "20"}]}}, "tool: 20"),
    ({"result": {"t": 20}}, 'tool: {"t": 20}'),
    ({"result": "no", "isError": True}, "tool failed: no"),
]


@pytest.mark.parametrize(("held", "wanted"), OUTPUTS)
def test_results_of_model_messages(held: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    call = {"type": "tool-call", "toolCallId": "a", "toolName": "f", "args": {"x": 1}}
    result = {"type": "tool-result", "toolCallId": "a", "toolName": "f", **held}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": [call]}]
    found, _ = made([*messages, {"role": "tool", "content": [result]}], tmp_path)
    assert [told(message) for message in found[1:]] == ['assistant: f{"x": 1}', wanted]
    assert isinstance(found[2], ChatMessageTool)
    assert (found[2].tool_call_id, found[2].function) == ("a", "f")


def test_files_stay_as_parts_of_their_kind(tmp_path: Path) -> None:
    image = {"type": "file", "mediaType": "image/png", "url": "https://example.org/a.png"}
    paper = {
        "type": "file",
        "mediaType": "application/pdf",
        "filename": "a.pdf",
        "url": "data:application/pdf;base64,eA==",
    }
    asked = {"role": "user", "parts": [said("Read."), image, paper]}
    (first, *_), _ = made([asked, *answer({"type": "step-start"}, said("Yes."))[1:]], tmp_path)
    assert [type(part) for part in first.content[1:]] == [ContentImage, ContentDocument]


def test_what_no_model_sees_is_counted(tmp_path: Path) -> None:
    shown = {"type": "data-note", "data": {"words": "for people"}}
    source = {"type": "source-url", "sourceId": "s", "url": "https://example.org", "title": "A page"}
    found, options = made(answer(said("Yes."), shown, source, metadata={"mood": "good"}, content="Other."), tmp_path)
    assert told(found[1]) == "assistant: Yes."
    assert set(options.notes.unread) == {
        "messages[].parts[].data-note.data.words",
        *(f"messages[].parts[].source-url.{key}" for key in ("url", "title")),
        *("messages[].metadata.mood", "messages[].content"),
    }


def test_a_part_of_an_unknown_type_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"messages": answer({"type": "step-start"}, {"type": "hologram", "url": "x"})})
        + "\n"
        + json.dumps({"messages": answer(said("Yes."))})
    )
    found = list(read(tmp_path / "a.jsonl", SourceOptions(suite="s", arm=Arm.EVALUATION)))
    assert [str(item) for item in found if isinstance(item, Skipped)] == [
        "a.jsonl line 1: message 1: a content part of unknown type 'hologram'"
    ]
