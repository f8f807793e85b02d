"""Odd inputs in public formats: every word stands with whoever said it, and what is not read is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool

from nla_eval.errors import InputError
from nla_eval.sources import SourceOptions, read
from nla_eval.transcript import Arm, Transcript, content_parts

Q = {"role": "user", "content": "Q"}
A = {"role": "assistant", "content": "A"}
B = {"role": "assistant", "content": "B"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "R"}
TEXT = [{"type": "text", "text": "A"}]
ITEMS = [{"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"},
         {"type": "function_call_output", "call_id": "c", "output": "R"}]  # fmt: skip
CIPHER = "gAAAAABo" + "Zm9vYmFyLWJhei1xdXV4" * 6 + "=="
ATIF = {"schema_version": "ATIF-v1.4", "session_id": "s", "agent": {"name": "a", "version": "1"}}
TAU2 = {"id": "s", "task_id": "1", "termination_reason": "user_stop"}
RUN = {"id": "r", "run_type": "llm"}


def assistant(**message: Any) -> dict[str, Any]:
    return {"role": "assistant", **message}


def chat(*messages: Any, **beside: Any) -> dict[str, Any]:
    return {"messages": list(messages), **beside}


def sharegpt(*turns: tuple[str, str], **beside: Any) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": text} for role, text in turns], **beside}


def chatgpt(*said: tuple[str, dict[str, Any]]) -> list[Any]:
    """ChatGPT's export of one branch, of (role, content)."""
    mapping: dict[str, Any] = {}
    parent = None
    for number, (role, content) in enumerate(said):
        key = f"n{number}"
        author = {"role": role, "name": "web" if role == "tool" else None}
        mapping[key] = {"id": key, "parent": parent, "message": {"id": key, "author": author, "content": content}}
        parent = key
    return [{"title": "t", "conversation_id": "c", "mapping": mapping, "current_node": parent}]


def words(text: str) -> dict[str, Any]:
    return {"content_type": "text", "parts": [text]}


def options() -> SourceOptions:
    return SourceOptions(suite="s", arm=Arm.EVALUATION)


def taken(folder: Path, record: Any, given: SourceOptions) -> Transcript:
    path = folder / "a.json"
    path.write_text(json.dumps(record) + "\n")
    (item,) = read(path, given)
    assert isinstance(item, Transcript), item
    return item


def told(found: Transcript) -> str:
    """Who said what, in short: "user Q | assistant (T) A f{} | tool f: R"; thinking stands in brackets."""
    return " | ".join(" ".join(filter(None, _message(message))) for message in found.messages)


def _message(message: Any) -> list[str]:
    name = f" {message.function}:" if isinstance(message, ChatMessageTool) and message.function else ""
    parts = [f"({text})" if kind == "thinking" else text for kind, text in content_parts(message)]
    calls = (message.tool_calls or []) if isinstance(message, ChatMessageAssistant) else []
    return [message.role + name, *parts, *(f"{call.function}{json.dumps(call.arguments)}" for call in calls)]


WHO: dict[str, tuple[Any, str]] = {
    # OpenAI's chat completions, and what imitates them
    "a call of a custom tool": (
        chat(Q, assistant(content=None, tool_calls=[
            {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]), RESULT, A),
        'user Q | assistant sh{"input": "ls"} | tool sh: R | assistant A',
    ),
    "a call without a function around it": (
        chat(Q, assistant(content="", tool_calls=[{"id": "c", "name": "f", "args": {"x": 1}}]), RESULT, A),
        'user Q | assistant f{"x": 1} | tool f: R | assistant A',
    ),
    "calls as the text of a list": (
        chat(Q, assistant(content="", tool_calls=json.dumps([CALL])), RESULT, A),
        "user Q | assistant f{} | tool f: R | assistant A",
    ),
    "a call in the content and beside it": (
        chat(Q, assistant(content=[*TEXT, {"type": "tool_use", "id": "c", "name": "f", "input": {}}],
                          tool_calls=[CALL])),
        "user Q | assistant A f{}",
    ),
    "definitions of custom and of built-in tools": (
        chat(Q, A, tools=[{"type": "custom", "custom": {"name": "sh"}}, {"type": "web_search"}]),
        "user Q | assistant A",
    ),
    "harmony, thinking in parts": (
        chat(Q, assistant(channel="analysis", content=[{"type": "text", "text": "T"}]), {**A, "channel": "final"}),
        "user Q | assistant (T) | assistant A",
    ),
    "harmony, a call to a recipient": (
        chat(Q, assistant(channel="commentary", recipient="functions.f", content='{"x": 1}'),
             {"role": "tool", "name": "functions.f", "content": "R"}, A),
        'user Q | assistant functions.f{"x": 1} | tool functions.f: R | assistant A',
    ),
    "words under \"message\"": (
        chat({"role": "user", "message": "Q"}, assistant(message="A")), "user Q | assistant A",
    ),
    "Assistants API": (
        chat({"role": "user", "content": [{"type": "text", "text": {"value": "Q", "annotations": []}}]}, A),
        "user Q | assistant A",
    ),
    "options of a test beside the answer": (
        {"prompt": "Q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "response": "A"}, "user Q | assistant A",
    ),
    "who made the model is no system prompt": (chat(Q, A, developer="OpenAI"), "user Q | assistant A"),
    "an answer by another name is an answer": (
        sharegpt(("human", "Q"), ("bard", "A"), response="A"), "user Q | assistant A",
    ),
    # Anthropic's messages
    "a document of blocks": (
        chat({"role": "user", "content": [
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "D"}]}},
            {"type": "text", "text": "Q"}]}, A),
        "user D Q | assistant A",
    ),
    "a search result given to the model": (
        chat({"role": "user", "content": [
            {"type": "search_result", "source": "u", "title": "T", "content": [{"type": "text", "text": "D"}]}]}, A),
        "user T\n\nD | assistant A",
    ),
    "what the API searched is the tool's": (
        chat(Q, assistant(content=[
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [
                {"type": "web_search_result", "title": "T", "encrypted_content": CIPHER}]},
            *TEXT])),
        'user Q | assistant web_search{"query": "q"} | '
        'tool web_search: [{"type": "web_search_result", "title": "T"}] | assistant A',
    ),
    "what the API ran is the tool's": (
        chat(Q, assistant(content=[
            {"type": "text", "text": "B"},
            {"type": "mcp_tool_use", "id": "s", "server_name": "x", "name": "e", "input": {}},
            {"type": "mcp_tool_result", "tool_use_id": "s", "content": [{"type": "text", "text": "R"}]}, *TEXT])),
        "user Q | assistant B x.e{} | tool x.e: R | assistant A",
    ),
    # Responses
    "thinking beside a message among items": (
        chat(Q, {**B, "reasoning_content": "T"}, *ITEMS, A),
        "user Q | assistant (T) B f{} | tool f: R | assistant A",
    ),
    "thinking beside a message that names its type": (
        chat(Q, {"type": "message", "role": "assistant", "content": TEXT, "reasoning_content": "T"}),
        "user Q | assistant (T) A",
    ),
    "a refusal beside a message among items": (
        chat(Q, *ITEMS, assistant(content=None, refusal="No.")), "user Q | assistant f{} | tool f: R | assistant No.",
    ),
    # Gemini
    "texts among the contents": (
        {"contents": ["B", {"role": "user", "parts": [{"text": "Q"}]}],
         "candidates": [{"content": {"role": "model", "parts": {"text": "A"}}}]},
        "user B | user Q | assistant A",
    ),
    # LangChain, LangSmith
    "a call that stands in the content only": (
        chat({"type": "human", "content": "Q"}, {"type": "ai", "tool_calls": [{"id": "a", "name": "f", "args": {}}],
             "content": [*TEXT, {"type": "tool_use", "id": "b", "name": "g", "input": {}}]}),
        "user Q | assistant A f{} g{}",
    ),
    "a run with a system prompt beside its messages": (
        {**RUN, "inputs": {"messages": [Q], "system": "S"}, "outputs": {**A, "content": TEXT}},
        "system S | user Q | assistant A",
    ),
    # tau2
    "the simulated user's own tool, by its call": (
        {**TAU2, "messages": [Q, {"role": "user", "content": None, "tool_calls": [{"id": "u", "name": "toggle"}]},
                              {"role": "tool", "id": "u", "content": "hidden"}, {**A, "raw_data": {"a": 1}}]},
        "user Q | assistant A",
    ),
    # ChatGPT
    "the memory under the model's name": (
        chatgpt(("assistant", {"content_type": "model_editable_context", "model_set_context": "M"}),
                ("user", words("Q")), ("assistant", words("A"))),
        "system M | user Q | assistant A",
    ),
    "what a program gave that the model quotes": (
        chatgpt(("user", words("Q")), ("tool", {"content_type": "citable_code_output", "output_str": "R"}),
                ("assistant", words("A"))),
        "user Q | tool web: R | assistant A",
    ),
    # Preference pairs, instructions
    "a prompt that is a system prompt": (
        {"prompt": [{"role": "system", "content": "S"}], "chosen": [Q, A], "rejected": [Q, B]},
        "system S | user Q | assistant A",
    ),
    "an answer that opens like a mark": (
        {"prompt": "Q", "chosen": "Human: dignity matters.", "rejected": "B"},
        "user Q | assistant Human: dignity matters.",
    ),
    "earlier exchanges beside a pair": (
        {"instruction": "Q", "history": [["h", "r"]], "chosen": "A", "rejected": "B"},
        "user h | assistant r | user Q | assistant A",
    ),
    "earlier exchanges beside an instruction": (
        {"instruction": "Q", "input": "", "output": "A", "history": [["h", "r"]]},
        "user h | assistant r | user Q | assistant A",
    ),
    # ShareGPT
    "a system prompt beside pieces": (
        [{"id": "x_0", "system": "S", "conversations": sharegpt(("human", "Q"), ("gpt", "A"))["conversations"]}],
        "system S | user Q | assistant A",
    ),
    "several calls in one turn": (
        sharegpt(("human", "Q"), ("function_call", '[{"name": "f", "arguments": {}}, {"name": "g"}]'), ("gpt", "A")),
        "user Q | assistant f{} g{} | assistant A",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHO)
def test_every_word_and_every_call_stands_with_whoever_said_it(name: str, tmp_path: Path) -> None:
    record, expected = WHO[name]
    assert told(taken(tmp_path, record, options())) == expected


STOPPED = {"stop_reason": "max_tokens"}
CUT: dict[str, Any] = {
    "Anthropic's message among others": chat(Q, {"id": "m", "type": "message", **A, "content": TEXT, **STOPPED}),
    "Anthropic's message beside them": chat(Q, response={"type": "message", **A, "content": TEXT, **STOPPED}),
    "Anthropic's message with results of the API's own tools": chat(Q, {**STOPPED, **A, "content": [
        {"type": "server_tool_use", "id": "s", "name": "f", "input": {}},
        {"type": "bash_code_execution_tool_result", "tool_use_id": "s", "content": {"stdout": "R"}}, *TEXT]}),
    "a batch": {"custom_id": "r", **chat(Q), "response": {"body": {"choices": [
        {"message": A, "finish_reason": "length"}]}}},
    "Gemini, a number": {"contents": [{"role": "user", "parts": [{"text": "Q"}]}], "candidates": [
        {"finish_reason": 2, "content": {"parts": [{"text": "A"}]}}]},
    "Gemini, a member of an enumeration": {"contents": [{"role": "user", "parts": [{"text": "Q"}]}], "candidates": [
        {"finish_reason": "FinishReason.MAX_TOKENS", "content": {"parts": [{"text": "A"}]}}]},
    "LangSmith, choices": {**RUN, "inputs": chat(Q), "outputs": {"choices": [
        {"finish_reason": "length", "message": A}]}},
    "LangSmith, Anthropic's message": {**RUN, "inputs": chat(Q), "outputs": {**A, "content": TEXT, **STOPPED}},
    "LangSmith, generations": {**RUN, "inputs": chat(Q), "outputs": {"generations": [[
        {"text": "A", "generation_info": {"finish_reason": "length"}}]]}},
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_cut_answer_is_cut_wherever_that_is_written(name: str, tmp_path: Path) -> None:
    found = taken(tmp_path, CUT[name], options())
    assert found.messages[-1].text == "A"
    assert [fact.stop for fact in found.turn_facts] == [*[None] * (len(found.turn_facts) - 1), "max_tokens"]


def test_an_answer_of_which_nothing_is_left_says_nothing_of_an_earlier_turn(tmp_path: Path) -> None:
    contents = [
        {"role": role, "parts": [{"text": text}]} for role, text in (("user", "Q"), ("model", "A"), ("user", "B"))
    ]
    found = taken(tmp_path, {"contents": contents, "candidates": [{"finishReason": "SAFETY"}]}, options())
    assert [fact.stop for fact in found.turn_facts] == [None, "content_filter"]
    silent = {"input": [Q, A], "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
              "output": [{"type": "mcp_list_tools", "tools": []}]}  # fmt: skip
    assert taken(tmp_path, silent, options()).turn_facts == ()


STEPS = [{"source": "user", "message": "Q"}, {
    "source": "agent", "message": "A",
    "tool_calls": [{"tool_call_id": "c", "function_name": "f", "arguments": {}, "extra": {"x": "N"}}],
    "observation": {"results": [{"source_call_id": "c", "content": "R", "extra": {"stderr": "N"}}]},
}]  # fmt: skip
ANSWERED = {
    "output": [{"type": "message", **A, "content": [{"type": "output_text", "text": "A"}]}],
    "object": "response",
}
CONTENTS = [{"role": "user", "parts": [{"text": "Q"}]}]
COUNTED: dict[str, tuple[Any, set[str]]] = {
    "Responses": (
        {"request": {"input": "Q", "prompt": {"variables": {"city": "N"}}}, "response": {**ANSWERED, "note": "N"}},
        {"request.prompt.variables.city", "response.note"},
    ),
    "Gemini": (
        {"request": {"contents": CONTENTS, "note": "N"}, "response": {"candidates": [
            {"content": {"parts": [{"text": "A"}]}, "groundingMetadata": {"webSearchQueries": ["N"]}}]}},
        {"request.note", "candidates[].groundingMetadata.webSearchQueries[]"},
    ),
    "LangSmith, inputs": (
        {**RUN, "inputs": {**chat(Q), "context": "N"}, "outputs": chat(Q, A)}, {"inputs.context"},
    ),
    "LangSmith, messages": (
        {**RUN, "inputs": chat({**Q, "note": "N"}), "outputs": {"choices": [{"message": A}]}}, {"messages[].note"},
    ),
    "ATIF": (
        {**ATIF, "agent": {**ATIF["agent"], "extra": {"system_prompt": "N"}}, "steps": STEPS},
        {"agent.extra.system_prompt", "steps[].tool_calls[].extra.x", "steps[].observation.results[].extra.stderr"},
    ),
    "ChatGPT, another kind of content": (
        chatgpt(("user", words("Q")), ("assistant", {"content_type": "widget", "state": {"text": "N"}}),
                ("assistant", words("A"))),
        {"content.state.text"},
    ),
    "ChatGPT, beside what is read": (
        chatgpt(("user", words("Q")), ("tool", {"content_type": "tether_quote", "title": "N", "text": "R"}),
                ("assistant", words("A"))),
        {"content.title"},
    ),
    "ChatGPT, inside a part": (
        chatgpt(("user", {"content_type": "multimodal_text", "parts": [
            {"content_type": "audio_asset_pointer", "metadata": {"transcription": "N"}}, "Q"]}),
            ("assistant", words("A"))),
        {"content.parts[].metadata.transcription"},
    ),
    "a prompt in other words than the pair's": (
        {"prompt": "N", "chosen": [Q, A], "rejected": [Q, B]}, {"prompt"},
    ),
    "bare messages": ([{**Q, "note": "N"}, A], {"messages[].note"}),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_text_that_is_not_read_is_counted_under_its_name(name: str, tmp_path: Path) -> None:
    record, keys = COUNTED[name]
    given = options()
    taken(tmp_path, record, given)
    assert set(given.notes.unread) == keys


@pytest.mark.parametrize(
    "record",
    [
        chat(Q, choices=[{"message": A}, {"message": B}]),
        chat(Q, response={"choices": [{"message": A}, {"message": B}]}),
        {**RUN, "inputs": chat(Q), "outputs": {"choices": [{"message": A}, {"message": B}]}},
        {**RUN, "inputs": chat(Q), "outputs": {"generations": [[{"text": "A"}, {"text": "B"}]]}},
        {"contents": CONTENTS, "candidates": [{"content": {"parts": [{"text": text}]}} for text in "AB"]},
    ],
)
def test_further_answers_to_a_prompt_are_counted(record: Any, tmp_path: Path) -> None:
    given = options()
    assert told(taken(tmp_path, record, given)) == "user Q | assistant A"
    assert list(given.notes.counts.values()) == [1]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (chat({"role": "user", "utterance": "Q"}, assistant(utterance="A")), "under none of the usual names"),
        (chat(Q, {"role": "assistant", "answer_text": "A"}), "under none of the usual names"),
        (chat(Q, choices={"text": ["x", "y"], "label": ["A", "B"]}), "no assistant turn"),
        (sharegpt(("human", "Q"), ("function_call", '"text"'), ("gpt", "A")), "not the JSON of a call"),
        (sharegpt(("human", "Q"), ("function_call", "[]"), ("gpt", "A")), "not the JSON of a call"),
    ],
)
def test_words_that_cannot_be_placed_are_a_reason_and_no_empty_turn(record: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason):
        taken(tmp_path, record, options())
