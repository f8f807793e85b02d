"""What each format says beyond its messages: who wrote a turn, why it ended, what was never in the model's context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant

from nla_eval.sources import Answers, Branches, Skipped, SourceOptions, read
from nla_eval.transcript import Arm, Author, Transcript, content_parts
from tests.sources import conversations as c
from tests.sources.fixtures import ANSWER, ASK, FIXTURES, ONE, SPOKEN, codex_line, lines

BUGS = Path(__file__).resolve().parents[1] / "data" / "bug_inputs"
BY_NAME = {fixture.name: fixture for fixture in FIXTURES}


def options(**more: Any) -> SourceOptions:
    return SourceOptions(suite="s", arm=Arm.EVALUATION, **more)


def transcripts(place: Path, given: SourceOptions) -> list[Transcript]:
    items = list(read(place, given))
    assert not [str(item) for item in items if isinstance(item, Skipped)]
    return [item for item in items if isinstance(item, Transcript)]


def thoughts(transcript: Transcript) -> list[str]:
    return [text for m in transcript.messages for kind, text in content_parts(m) if kind == "thinking"]


@pytest.mark.parametrize(
    ("name", "roles", "calls", "thinking"),
    [
        ("one_conversation.json", "user assistant user assistant", 0, []),
        ("one_message_a_line.jsonl", "user assistant user assistant", 0, []),
        ("responses_items.jsonl", "user assistant tool assistant", 1, ["test?"]),
        ("langchain.jsonl", "system user assistant", 0, []),
        ("gemini_calls.jsonl", "user assistant tool assistant", 1, []),
    ],
)
def test_inputs_that_were_refused_are_read(name: str, roles: str, calls: int, thinking: list[str]) -> None:
    (found,) = transcripts(BUGS / name, options())
    made = [call.id for m in found.messages if isinstance(m, ChatMessageAssistant) for call in m.tool_calls or ()]
    answered = [m.tool_call_id for m in found.messages if m.role == "tool"]
    assert [m.role for m in found.messages] == roles.split()
    assert len(made) == calls
    assert answered == made
    assert thoughts(found) == thinking


def test_a_compacted_codex_session_is_what_the_model_saw_before_and_after(tmp_path: Path) -> None:
    place = BY_NAME["Codex, compacted and rolled back"].write(tmp_path)
    given = options()
    before, after = transcripts(place, given)
    assert before.family == after.family == "run-1"
    assert [m.role for m in before.messages] == ["user", "assistant", "tool", "assistant"]
    assert [m.text for m in after.messages][:2] == ["Which files are there?", "Summary: two files."]
    assert given.notes.counts["items that were rolled back (--branches all reads them)"] == 6
    kept, rolled_back = list(before.messages), transcripts(place, options(branches=Branches.ALL))[0]
    assert [m.text for m in rolled_back.messages] == [m.text for m in kept]


def test_raw_reasoning_that_only_an_event_of_codex_holds_is_thinking_once(tmp_path: Path) -> None:
    raw = codex_line("event_msg", type="agent_reasoning_raw_content", text="All of it.")
    at = next(n for n, line in enumerate(SPOKEN) if line["payload"].get("type") == "reasoning")
    for number, order in enumerate(([raw, SPOKEN[at]], [SPOKEN[at], raw])):
        place = lines(f"{number}.jsonl", *SPOKEN[:at], *order, *SPOKEN[at + 1 :])(tmp_path)
        assert thoughts(transcripts(place, options())[0]) == ["All of it."]


def test_tau2_is_what_the_agent_saw(tmp_path: Path) -> None:
    given = options()
    items = list(read(BY_NAME["tau2"].write(tmp_path), given))
    found = next(item for item in items if isinstance(item, Transcript))
    assert [m.role for m in found.messages] == ["system", "assistant", "user", "assistant", "tool", "assistant"]
    assert [facts.author for facts in found.turn_facts] == [Author.GIVEN, Author.RECORDED, Author.RECORDED]
    assert (found.family, found.outcome) == ("air/7", "1.0")
    assert sum(given.notes.counts.values()) == 2


def test_what_gemini_cli_rewound_and_its_notices_are_counted(tmp_path: Path) -> None:
    given = options()
    (found,) = transcripts(BY_NAME["Gemini CLI, lines"].write(tmp_path), given)
    assert [m.text for m in found.messages] == ["Which?", "Two."]
    assert thoughts(found) == ["Looking\nat both"]
    assert sorted(given.notes.counts.values()) == [1, 2]


@pytest.mark.parametrize(
    ("record", "stop"),
    [
        ({**c.exchange(ONE), "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
         "max_tokens"),
        ({"contents": c.contents(ONE.turns[:-1]), "candidates": [{"finishReason": "SAFETY", "content": {}}]},
         "content_filter"),
        ({**c.run(ONE), "outputs": {"generations": [[{"message": {"type": "ai", "data": {
            "content": "Two", "response_metadata": {"finish_reason": "length"}}}}]]}}, "max_tokens"),
    ],
    ids=["Responses", "Gemini", "LangSmith"],
)  # fmt: skip
def test_a_stop_reason_that_the_format_says_is_the_turns(record: Any, stop: str, tmp_path: Path) -> None:
    place = tmp_path / "a.jsonl"
    place.write_text(json.dumps(record) + "\n")
    assert transcripts(place, options())[0].turn_facts[-1].stop == stop


@pytest.mark.parametrize(
    ("answers", "said"),
    [(Answers.CHOSEN, ["good"]), (Answers.REJECTED, ["bad"]), (Answers.BOTH, ["good", "bad"])],
)
def test_of_a_pair_the_answer_that_was_asked_for_is_read(answers: Answers, said: list[str], tmp_path: Path) -> None:
    place = lines("a.jsonl", {"id": "p", "prompt": "q", "chosen": "good", "rejected": "bad"})(tmp_path)
    found = transcripts(place, options(answers=answers))
    assert [t.messages[-1].text for t in found] == said
    assert {t.family for t in found} == {"p"}
    assert [t.variant for t in found] == ["chosen" if words == "good" else "rejected" for words in said]


def test_each_run_of_a_trace_is_read_once_as_the_longest_of_its_conversation(tmp_path: Path) -> None:
    first = {**c.run(ONE), "id": "first", "trace_id": "t"}
    later = json.loads(json.dumps({**c.run(ONE), "id": "later", "trace_id": "t"}))
    told = first["outputs"]["generations"][0][0]["message"]
    later["inputs"]["messages"][0] += [told, *c.langchain((c.Turn("user", "Thanks."),), "lc")]
    given = options()
    (found,) = transcripts(lines("a.jsonl", first, later)(tmp_path), given)
    assert (found.id, found.family) == ("later", "t")
    assert given.notes.counts == {"runs whose conversation another run goes on with": 1}


def test_a_message_of_an_unknown_conversation_stands_in_one_transcript(tmp_path: Path) -> None:
    records = [{**message, "thread_id": thread} for thread in ("a", "b", "a") for message in (ASK, ANSWER)]
    items = list(read(lines("a.jsonl", *records)(tmp_path), options()))
    assert [item.id for item in items if isinstance(item, Transcript)] == ["a", "b"]
    assert "stand apart" in next(item.reason for item in items if isinstance(item, Skipped))
