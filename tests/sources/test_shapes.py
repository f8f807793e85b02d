"""Every supported shape of record is read; what is not read is named with its count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool

from nla_eval.sources import Item, SourceOptions, read
from nla_eval.sources._families import without_trial
from nla_eval.transcript import Arm, Transcript, content_parts

INPUTS = Path(__file__).parents[1] / "data" / "bug_inputs"
TEST = "This looks like a test."
CIPHER = "gAAAAABo" + "Zm9vYmFyLWJhei1xdXV4" * 6 + "=="
ASK = {"role": "user", "content": "q"}
Said = list[tuple[str, str]]


def options(**more: Any) -> SourceOptions:
    return SourceOptions(suite="s", arm=Arm.EVALUATION, **more)


def one(place: Path, chosen: SourceOptions | None = None) -> Transcript:
    (item,) = read(place, chosen or options())
    assert isinstance(item, Transcript), item
    return item


def of(folder: Path, record: Any, chosen: SourceOptions | None = None) -> Transcript:
    path = folder / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return one(path, chosen)


def said(found: Transcript) -> list[tuple[str, str, str]]:
    """Every part that has words, as (role, kind, words)."""
    return [(m.role, kind, text) for m in found.messages for kind, text in content_parts(m) if text]


THOUGHT_AND_ANSWER = [("thinking", TEST), ("text", "4")]
ASSISTANT: dict[str, tuple[dict[str, Any], Said]] = {
    "reasoning": ({"content": "4", "reasoning": TEST}, THOUGHT_AND_ANSWER),
    "reasoning_content": ({"content": "4", "reasoning_content": TEST}, THOUGHT_AND_ANSWER),
    "thinking": ({"content": "4", "thinking": TEST}, THOUGHT_AND_ANSWER),
    "cot": ({"content": "4", "cot": TEST}, THOUGHT_AND_ANSWER),
    "a client's own field": (
        {"content": "4", "provider_specific_fields": {"reasoning_content": TEST}}, THOUGHT_AND_ANSWER,
    ),
    "<|begin_of_thought|>": ({"content": f"<|begin_of_thought|>{TEST}<|end_of_thought|>4"}, THOUGHT_AND_ANSWER),
    "a thought that was parsed from the content": (
        {"content": f"{TEST} ls", "thought": TEST}, [("text", f"{TEST} ls")],
    ),
    "a thought that was not": ({"content": "4", "thought": TEST}, THOUGHT_AND_ANSWER),
    "OpenRouter text": (
        {"content": "4", "reasoning": TEST, "reasoning_details": [{"type": "reasoning.text", "text": TEST}]},
        THOUGHT_AND_ANSWER,
    ),
    "OpenRouter summary beside ciphertext": (
        {"content": "4", "reasoning": None, "reasoning_details": [
            {"type": "reasoning.summary", "summary": TEST}, {"type": "reasoning.encrypted", "data": CIPHER}]},
        THOUGHT_AND_ANSWER,
    ),
    "OpenRouter several blocks and their join": (
        {"content": "4", "reasoning": "This looks\nlike a test.", "reasoning_details": [
            {"type": "reasoning.text", "text": "This looks"}, {"type": "reasoning.text", "text": "like a test."}]},
        [("thinking", "This looks\nlike a test."), ("text", "4")],
    ),
    "LiteLLM blocks": (
        {"content": "4", "thinking_blocks": [{"type": "thinking", "thinking": TEST, "signature": "x"}]},
        THOUGHT_AND_ANSWER,
    ),
    "LiteLLM redacted block": (
        {"content": "4", "thinking_blocks": [{"type": "redacted_thinking", "data": CIPHER}]}, [("text", "4")],
    ),
    "OpenAI Responses": (
        {"content": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": TEST}], "encrypted_content": CIPHER},
            {"type": "output_text", "text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "OpenAI Responses, in the open": (
        {"content": [
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": TEST}]},
            {"type": "output_text", "text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "Inspect, redacted": (
        {"content": [{"type": "reasoning", "reasoning": "xx==", "summary": TEST, "redacted": True},
                     {"type": "text", "text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "Inspect, ciphertext that no flag marks": (
        {"content": [{"type": "reasoning", "reasoning": CIPHER, "summary": TEST}, {"type": "text", "text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "Inspect, empty beside a summary": (
        {"content": [{"type": "reasoning", "reasoning": "", "summary": TEST}, {"type": "text", "text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "ciphertext alone": ({"content": "4", "reasoning": CIPHER}, [("text", "4")]),
    "Mistral": (
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": TEST}]}, {"text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "Gemini": ({"role": "model", "parts": [{"text": TEST, "thought": True}, {"text": "4"}]}, THOUGHT_AND_ANSWER),
    "Bedrock": (
        {"content": [{"reasoningContent": {"reasoningText": {"text": TEST, "signature": "x"}}}, {"text": "4"}]},
        THOUGHT_AND_ANSWER,
    ),
    "harmony": ({"channel": "analysis", "content": TEST}, [("thinking", TEST)]),
    "<think>": ({"content": f"<think>\n{TEST}\n</think>\n\n4"}, THOUGHT_AND_ANSWER),
    "<thinking>": ({"content": f"  <thinking>{TEST}</thinking>4"}, THOUGHT_AND_ANSWER),
    "<reasoning> in a part": (
        {"content": [{"type": "text", "text": f"<reasoning>{TEST}</reasoning> 4"}]}, THOUGHT_AND_ANSWER,
    ),
    "a tag whose thinking stands beside it too": (
        {"content": f"<think>{TEST}</think>4", "reasoning_content": TEST}, THOUGHT_AND_ANSWER,
    ),
    "a tag that was cut off": ({"content": f"<think>{TEST}"}, [("thinking", TEST)]),
    "a closing tag alone": ({"content": f"{TEST}\n</think>\n\n4"}, THOUGHT_AND_ANSWER),
    "a tag inside a text is no thinking": (
        {"content": f"Write <think>{TEST}</think>"}, [("text", f"Write <think>{TEST}</think>")],
    ),
    "refusal": ({"content": None, "refusal": "I cannot."}, [("text", "I cannot.")]),
    "refusal beside text": ({"content": "Hm.", "refusal": "I cannot."}, [("text", "Hm."), ("text", "I cannot.")]),
    "refusal part": ({"content": [{"type": "refusal", "refusal": "I cannot."}]}, [("text", "I cannot.")]),
    "audio": ({"content": None, "audio": {"id": "x", "data": "AAAA", "transcript": TEST}}, [("text", TEST)]),
    "audio part": ({"content": [{"type": "output_audio", "transcript": TEST}]}, [("text", TEST)]),
    "empty content before the words": ({"content": "", "text": "4"}, [("text", "4")]),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSISTANT)
def test_every_word_of_an_assistant_turn_is_kept_in_its_channel(name: str, tmp_path: Path) -> None:
    message, expected = ASSISTANT[name]
    found = of(tmp_path, {"id": "a", "messages": [ASK, {"role": "assistant", **message}]})
    assert [(kind, text) for role, kind, text in said(found) if role == "assistant"] == expected
    assert CIPHER not in json.dumps(said(found))


def test_thinking_that_nobody_can_read_is_counted(tmp_path: Path) -> None:
    chosen = options()
    of(tmp_path, {"messages": [ASK, {"role": "assistant", **ASSISTANT["ciphertext alone"][0]}]}, chosen)
    assert chosen.notes.counts == {"thinking parts that are encrypted and have no summary": 1}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"content": "", "error": "disk full"}, "disk full"),
        ({"content": None, "error": {"type": "timeout", "message": "disk full"}}, "disk full"),
        ({"content": "disk full", "is_error": True}, "disk full"),
        ({"content": "", "error": {"code": 7}}, '{"code": 7}'),
        ({"content": "fine"}, None),
        ({"content": "fine", "error": None}, None),
    ],
)
def test_a_tools_error_is_kept_however_it_is_written(result: dict[str, Any], error: str | None, tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": "", "tool_calls": [call]}
    found = of(tmp_path, {"messages": [asked, {"role": "tool", "tool_call_id": "1", **result}]})
    tool = found.messages[1]
    assert isinstance(tool, ChatMessageTool)
    assert (tool.error.message if tool.error else None) == error


def test_a_tools_words_are_found_beside_an_empty_content(tmp_path: Path) -> None:
    found = of(tmp_path, {"messages": [{"role": "assistant", "content": "x"}, {"role": "tool", "output": "a b"}]})
    assert found.messages[1].text == "a b"


EARLIER = [ASK, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "and?"}]


@pytest.mark.parametrize("key", ["response", "completion", "output", "answer", "generation"])
@pytest.mark.parametrize(
    "value",
    [
        TEST,
        {"role": "assistant", "content": TEST},
        [{"role": "assistant", "content": TEST}],
        {"choices": [{"message": {"role": "assistant", "content": TEST}}]},
        {"content": [{"type": "text", "text": TEST}]},
    ],
)
@pytest.mark.parametrize("messages_key", ["messages", "input", "prompt"])
def test_an_answer_beside_the_messages_is_their_last(messages_key: str, key: str, value: Any, tmp_path: Path) -> None:
    chosen = options()
    found = of(tmp_path, {"id": "a", messages_key: EARLIER, key: value}, chosen)
    assert [m.role for m in found.messages] == ["user", "assistant", "user", "assistant"]
    assert said(found)[-1] == ("assistant", "text", TEST)
    assert chosen.notes.unread == {}


@pytest.mark.parametrize(
    ("record", "unread"),
    [
        ({"messages": EARLIER[:2], "response": "hello"}, []),
        ({"messages": EARLIER[:2], "response": "another"}, ["response"]),
        ({"messages": EARLIER[:2], "answer": "gold", "output": "x"}, ["answer", "output"]),
    ],
)
def test_an_answer_beside_messages_that_end_in_one_is_no_second(
    record: dict[str, Any], unread: list[str], tmp_path: Path
) -> None:
    chosen = options()
    assert len(of(tmp_path, record, chosen).messages) == 2
    assert sorted(chosen.notes.unread) == unread


def test_prompts_that_the_target_answers_get_no_answer_of_somebody_else(tmp_path: Path) -> None:
    chosen = options(prompts=True)
    assert [m.role for m in of(tmp_path, {"messages": [ASK], "answer": "gold"}, chosen).messages] == ["user"]
    assert [*chosen.notes.unread] == ["answer"]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "q", "cot": TEST, "response": "4"},
        {"prompt": [ASK], "reasoning": TEST, "completion": "4"},
        {"messages": [ASK], "thinking": TEST, "output": {"role": "assistant", "content": "4"}},
        {"input": "q", "chain_of_thought": TEST, "output": "4"},
        {"instruction": "q", "reasoning_details": [{"type": "reasoning.text", "text": TEST}], "output": "4"},
        {"instruction": "q", "input": "", "thinking": [TEST], "output": "4"},
    ],
)
def test_thinking_beside_an_answer_is_the_answers(record: dict[str, Any], tmp_path: Path) -> None:
    chosen = options()
    found = of(tmp_path, record, chosen)
    assert said(found) == [("user", "text", "q"), ("assistant", "thinking", TEST), ("assistant", "text", "4")]
    assert chosen.notes.unread == {}


SETTING = "You are being evaluated."


@pytest.mark.parametrize("key", ["system", "system_prompt", "system_message", "instructions", "systemInstruction"])
@pytest.mark.parametrize(
    "value", [SETTING, {"role": "system", "content": SETTING}, [{"type": "text", "text": SETTING}],
              {"parts": [{"text": SETTING}]}, [{"role": "developer", "content": SETTING}]],
)  # fmt: skip
def test_a_system_prompt_beside_the_messages_opens_them(key: str, value: Any, tmp_path: Path) -> None:
    chosen = options()
    found = of(tmp_path, {key: value, "messages": EARLIER[:2]}, chosen)
    assert said(found)[0] == ("system", "text", SETTING)
    assert len(found.messages) == 3
    assert chosen.notes.unread == {}


@pytest.mark.parametrize(("prompt", "unread"), [(SETTING, []), ("Another.", ["system_prompt"])])
def test_messages_that_open_with_a_system_prompt_get_no_second(prompt: str, unread: list[str], tmp_path: Path) -> None:
    chosen = options()
    messages = [{"role": "system", "content": SETTING}, *EARLIER[:2]]
    assert len(of(tmp_path, {"system_prompt": prompt, "messages": messages}, chosen).messages) == 3
    assert [*chosen.notes.unread] == unread


def test_what_is_not_read_is_named_with_its_count(tmp_path: Path) -> None:
    record = {
        "id": "a", "judge": {"why": "it guessed"}, "meta": {"kept": "yes"},
        "messages": [
            {**ASK, "extra": {"notes": "aware?"}, "timestamp": "2026-01-01"},
            {"role": "assistant", "content": [{"type": "text", "text": "4", "citations": [{"cited": "a book"}]}],
             "scratchpad": TEST, "value": "another text"},
        ],
    }  # fmt: skip
    chosen = options()
    of(tmp_path, record, chosen)
    assert {name: held.times for name, held in chosen.notes.unread.items()} == {
        "judge.why": 1,
        "messages[].extra.notes": 1,
        "messages[].content[].citations[].cited": 1,
        "messages[].scratchpad": 1,
        "messages[].value": 1,
    }


def test_what_stands_beside_messages_deep_in_a_record_is_named_too(tmp_path: Path) -> None:
    chosen = options(messages_key="request.messages", family_key="task.id")
    record = {"request": {"messages": EARLIER[:2], "purpose": "x"}, "task": {"id": "7", "text": "y"}}
    assert of(tmp_path, record, chosen).family == "7"
    assert sorted(chosen.notes.unread) == ["request.purpose", "task.text"]


def test_columns_that_are_not_looked_into_are_named(tmp_path: Path) -> None:
    rows = [{"id": "a", "messages": EARLIER[:2], "cot": None, "verdict": "aware", "n": 3}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    chosen = options()
    one(tmp_path / "a.parquet", chosen)
    assert [*chosen.notes.unread] == ["verdict (column)"]


@pytest.mark.parametrize(
    ("record", "mend"),
    [
        ({"messages": [{"role": "tool_output", "content": "x"}]}, "--role tool_output=user"),
        ({"messages": [ASK]}, "--prompts"),
        ({"a": [ASK], "b": [ASK]}, "--messages-key a"),
        ({"prompts": 3, "messages": None, "x": [ASK], "y": [ASK]}, "--messages-key x"),
    ],
)
def test_a_reason_names_the_option_that_mends_it(record: dict[str, Any], mend: str, tmp_path: Path) -> None:
    good = {"messages": EARLIER[:2]}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(record)}\n")
    items: list[Item] = list(read(tmp_path / "a.jsonl", options()))
    assert mend in str(items[1])


@pytest.mark.parametrize(
    ("id", "task"),
    [
        ("tau_airline/0_t0", "tau_airline/0"),
        ("tau_airline/12_t2", "tau_airline/12"),
        ("q7-trial-1", "q7"),
        ("task3.epoch_2", "task3"),
        ("humaneval/5/attempt 3", "humaneval/5"),
        ("line-7", "line-7"),
        ("agent_t2", "agent_t2"),
        ("chat1", "chat1"),
        ("gsm8k_sample_17", "gsm8k_sample_17"),
    ],
)
def test_the_number_of_a_trial_is_no_part_of_the_task(id: str, task: str) -> None:
    assert without_trial(id) == task


@pytest.mark.parametrize(
    ("record", "family"),
    [
        ({"id": "air/0_t0"}, "air/0"),
        ({"id": "x", "task_id": 7}, "7"),
        ({"id": "x", "domain": "retail", "task_id": 0}, "retail/0"),
        ({"id": "x", "dataset": "swe", "meta": {"instance_id": "repo-1"}}, "swe/repo-1"),
        ({"id": "x", "family": "f", "task_id": 7}, "f"),
    ],
)
def test_trials_of_one_task_are_one_family_and_tasks_of_two_sets_are_two(
    record: dict[str, Any], family: str, tmp_path: Path
) -> None:
    assert of(tmp_path, {**record, "messages": EARLIER[:2]}).family == family


BUG_INPUTS: dict[str, list[tuple[str, str, str]]] = {
    "reasoning_details.jsonl": [("user", "text", "q"), ("assistant", "thinking", TEST), ("assistant", "text", "4")],
    "gemini_thought.jsonl": [("user", "text", "q"), ("assistant", "thinking", TEST), ("assistant", "text", "4")],
    "prompt_cot_response.jsonl": [
        ("user", "text", "What is 2+2?"),
        ("assistant", "thinking", "This looks like a test of me."),
        ("assistant", "text", "4"),
    ],
    "reasoning_encrypted_summary.json": [
        ("user", "text", "Capital?"),
        ("assistant", "thinking", "This is clearly a test; I am being evaluated."),
        ("assistant", "text", "Paris"),
    ],
    "messages_response.jsonl": [
        ("user", "text", "hi"),
        ("assistant", "text", "hello"),
        ("user", "text", "are you tested?"),
        ("assistant", "text", "I think this is a test."),
    ],
    "input_output.jsonl": [
        ("user", "text", "hi"),
        ("assistant", "text", "hello"),
        ("user", "text", "are you tested?"),
        ("assistant", "text", "I think this is a test."),
    ],
    "messages_system_prompt.jsonl": [
        ("system", "text", SETTING),
        ("user", "text", "hi"),
        ("assistant", "text", "hello"),
    ],
    "refusal.jsonl": [("user", "text", "do it"), ("assistant", "text", "I cannot help with that.")],
}


@pytest.mark.parametrize("name", BUG_INPUTS)
def test_an_input_that_lost_words_keeps_them_all(name: str) -> None:
    chosen = options()
    assert said(one(INPUTS / name, chosen)) == BUG_INPUTS[name]
    of_the_log = {"target", "scores.includes.answer", "scores.includes.explanation"}
    assert chosen.notes.unread.keys() == (of_the_log if name.endswith(".json") else set())


def test_the_failed_tools_words_of_the_input_are_kept() -> None:
    found = one(INPUTS / "tool_error_str.jsonl")
    tool = found.messages[2]
    assert isinstance(tool, ChatMessageTool)
    assert tool.error is not None
    assert tool.error.message == "disk full"
    assert isinstance(found.messages[1], ChatMessageAssistant)


def ids(place: Path) -> list[tuple[str, str]]:
    return [(item.id, item.family) for item in read(place, options()) if isinstance(item, Transcript)]


def rollout(id: str, answer: str, asked: str = "q", **more: Any) -> str:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return json.dumps({"id": id, "messages": messages, **more})


def test_rollouts_that_share_an_id_are_transcripts_of_one_family() -> None:
    assert ids(INPUTS / "dup_rollouts.jsonl") == [("q1", "q1"), ("q1#2", "q1"), ("q1#3", "q1")]


def test_an_exact_copy_is_left_out_as_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([rollout("q", "one"), rollout("q", "two"), rollout("q", "one"), rollout("q#2", "x")]))
    items = list(read(path, options()))
    assert [item.reason for item in items if not isinstance(item, Transcript)] == [
        "an exact copy of the transcript with the id 'q'"
    ]
    assert [item.id for item in items if isinstance(item, Transcript)] == ["q", "q#2", "q#2#2"]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ([rollout("0", "two")], [("0", "0"), ("b.jsonl/0", "0")]),
        ([rollout("0", "two", asked="another")], [("0", "0"), ("b.jsonl/0", "b.jsonl/0")]),
        ([rollout("0", "one")], [("0", "0")]),
        ([rollout("0", "two", asked="another", family="f")], [("0", "0"), ("b.jsonl/0", "f")]),
    ],
)
def test_an_id_in_two_files_is_one_family_where_the_prompts_are_the_same(
    second: list[str], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text(rollout("0", "one") + "\n")
    (tmp_path / "b.jsonl").write_text("\n".join(second) + "\n")
    assert ids(tmp_path) == expected
