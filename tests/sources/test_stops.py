"""An answer that a limit or a filter cut is known as such, wherever the data says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nla_eval.sources import SourceOptions, read
from nla_eval.transcript import Arm, Transcript

ASKED = {"role": "user", "content": "Count to a thousand."}
CUT = {"role": "assistant", "content": "One, two"}
WHOLE = {"role": "assistant", "content": "No."}
LC = {"type": "ai", "content": "One, two", "response_metadata": {"finish_reason": "length"}}

RECORDS: dict[str, tuple[Any, list[str | None]]] = {
    "OpenAI's word": ([ASKED, WHOLE, ASKED, {**CUT, "finish_reason": "length"}], [None, "max_tokens"]),
    "Anthropic's word": ([ASKED, {**CUT, "stop_reason": "max_tokens"}, ASKED, WHOLE], ["max_tokens", None]),
    "LangChain's metadata": ([{"type": "human", "content": "Count."}, LC], ["max_tokens"]),
    "beside the messages": ({"messages": [ASKED, CUT], "finish_reason": "length"}, ["max_tokens"]),
    "beside the answer": ({"prompt": "Count.", "completion": "One, two", "finish_reason": "length"}, ["max_tokens"]),
    "in the choice": ({"messages": [ASKED], "choices": [{"message": CUT, "finish_reason": "length"}]}, ["max_tokens"]),
    "in the choice of a response": (
        {"messages": [ASKED], "response": {"choices": [{"message": CUT, "finish_reason": "content_filter"}]}},
        ["content_filter"],
    ),
    "in a choice of text": ({"prompt": "Say", "choices": [{"text": "I", "finish_reason": "length"}]}, ["max_tokens"]),
    "in the choice that repeats the last message": (
        {"messages": [ASKED, CUT], "choices": [{"message": CUT, "finish_reason": "length"}]},
        ["max_tokens"],
    ),
    "in a response of Anthropic's": (
        {"messages": [ASKED], "response": {"role": "assistant", "content": [{"type": "text", "text": "One"}],
                                           "stop_reason": "max_tokens"}},
        ["max_tokens"],
    ),
    "in a response of Ollama's": (
        {"messages": [ASKED], "response": {"message": CUT, "done_reason": "length"}}, ["max_tokens"]
    ),
    "Bedrock's filter": ({"messages": [ASKED, {**CUT, "stopReason": "guardrail_intervened"}]}, ["content_filter"]),
    "in capitals": ({"messages": [ASKED, {**CUT, "finish_reason": "LENGTH"}]}, ["max_tokens"]),
    "a word nobody knows": ({"messages": [ASKED, {**CUT, "finish_reason": "tired"}]}, ["unknown"]),
    "none": ({"messages": [ASKED, CUT]}, []),
}  # fmt: skip


def transcript(record: Any, folder: Path, **options: Any) -> Transcript:
    (folder / "a.jsonl").write_text(json.dumps(record) + "\n")
    found = list(read(folder / "a.jsonl", SourceOptions(suite="s", arm=Arm.EVALUATION, **options)))
    assert len(found) == 1
    assert isinstance(found[0], Transcript), found[0]
    return found[0]


@pytest.mark.parametrize("name", RECORDS)
def test_why_an_answer_ended_is_read(name: str, tmp_path: Path) -> None:
    record, stops = RECORDS[name]
    made = transcript(record, tmp_path)
    assert [fact.stop for fact in made.turn_facts] == stops
    assert all(fact.cut for fact in made.turn_facts if fact.stop in ("max_tokens", "content_filter"))


def test_the_end_of_an_answer_that_is_not_read_is_nobodys(tmp_path: Path) -> None:
    record = {"messages": [ASKED, WHOLE, ASKED], "response": "One, two", "finish_reason": "length"}
    assert transcript(record, tmp_path, prompts=True).turn_facts == ()


def test_the_last_piece_of_an_answer_of_claude_code_says_its_end(tmp_path: Path) -> None:
    base = {"sessionId": "s", "isSidechain": False}
    pieces = [
        {**base, "type": "user", "uuid": "u0", "parentUuid": None, "message": ASKED},
        {**base, "type": "assistant", "uuid": "u1", "parentUuid": "u0",
         "message": {"role": "assistant", "id": "m", "content": [{"type": "text", "text": "1"}], "stop_reason": None}},
        {**base, "type": "assistant", "uuid": "u2", "parentUuid": "u1",
         "message": {"role": "assistant", "id": "m", "content": [{"type": "text", "text": "two"}],
                     "stop_reason": "max_tokens"}},
    ]  # fmt: skip
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(piece) + "\n" for piece in pieces))
    found = list(read(tmp_path / "s.jsonl", SourceOptions(suite="s", arm=Arm.EVALUATION)))
    assert [fact.stop for item in found if isinstance(item, Transcript) for fact in item.turn_facts] == ["max_tokens"]
