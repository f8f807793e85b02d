"""Frames of judgements: which outcomes pass through, one judgement per distinct text, fixed columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio
import polars as pl
import pytest
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser

from nla_eval.errors import InputError
from nla_eval.judgement import Evidence, Judgement, Label, Outcome, Rubric, text_hash
from nla_eval.judging.classify import (
    CLASSIFIERS,
    JUDGEMENT_SCHEMA,
    TURN_SCHEMA,
    judge_messages,
    judge_readings,
    load_rubric,
    make_classifier,
    rubric_ref,
)
from nla_eval.readings import Reading
from nla_eval.store.rows import SCHEMA
from nla_eval.transcript import Arm, Provenance, Transcript


@dataclass
class Keyword:
    """A classifier that flags the word "eval", and keeps what it was asked."""

    rubric: Rubric = field(default_factory=load_rubric)
    name: str = "keyword@1"
    asked: list[str] = field(default_factory=list)

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        self.asked += texts
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Judgement:
        at = text.find("eval")
        return Judgement(
            outcome=Outcome.AWARE if at >= 0 else Outcome.NOT_AWARE,
            labels=[Label.BELIEF if at >= 0 else Label.NONE],
            evidence=[Evidence(start=at, end=at + 4, text="eval")] if at >= 0 else [],
            score=0.75 if at >= 0 else 0.25,
            classifier=self.name,
            rubric=rubric_ref(self.rubric),
        )


def reading(position: int, explanation: str, stop: str = "closed", **other: Any) -> dict[str, Any]:
    fixed = {"pack": "p", "transcript_digest": "d", "transcript_id": "t", "suite": "s", "lane": "measured", "draw": 0}
    place = {"policy": "all", "seed": 0, "message": 1, "role": "assistant", "channel": "response", "turn": 0}
    place |= {"token": "x", "context": "x", "tokens": 1}
    row = {**fixed, **place, "position": position, "explanation": explanation, "stop": stop, **other}
    return Reading.model_validate(row).model_dump(mode="json")


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def transcript(*messages: ChatMessage) -> Transcript:
    return Transcript(
        id="t", messages=list(messages), arm=Arm.EVALUATION, suite="s", family="f", provenance=Provenance(source="hand")
    )


def test_readings_that_did_not_close_keep_their_own_outcome_whatever_their_text_says() -> None:
    classifier = Keyword()
    rows = frame(
        reading(50, "an eval"),
        reading(51, "an eval, cut", "truncated"),
        reading(52, "", "out_of_context"),
        reading(53, "", "error", error="engine failed"),
        reading(54, "  "),
    )
    judged = anyio.run(judge_readings, rows, classifier)
    assert judged["outcome"].to_list() == ["AWARE", "TRUNCATED", "OUT_OF_CONTEXT", "ERROR", "UNPARSED"]
    assert judged["note"].to_list()[3] == "engine failed"
    assert judged["labels"].to_list()[1] == []
    assert classifier.asked == ["an eval"]


def test_identical_texts_are_judged_once_and_every_row_gets_the_judgement() -> None:
    classifier = Keyword()
    rows = frame(
        reading(50, "an eval"), reading(51, "a list"), reading(52, "an eval"), reading(50, "a list", lane="donor")
    )
    judged = anyio.run(judge_readings, rows, classifier)
    assert classifier.asked == ["an eval", "a list"]
    assert judged.select("position", "lane", "outcome").rows() == [
        (50, "measured", "AWARE"),
        (51, "measured", "NOT_AWARE"),
        (52, "measured", "AWARE"),
        (50, "donor", "NOT_AWARE"),
    ]


@pytest.mark.parametrize("together", [1, 2, 3, 99])
def test_judging_some_texts_at_a_time_changes_no_judgement(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["an eval", "a list", "", "an eval", "a test", "eval!", "a list", "\x1c", "\u3000"]
    rows = frame(
        *(reading(50 + at, text) for at, text in enumerate(texts)), reading(90, "eval!", "truncated", error="cut")
    )
    whole = anyio.run(judge_readings, rows, Keyword())
    monkeypatch.setattr("nla_eval.judging.classify._TEXTS", together)
    classifier = Keyword()
    assert anyio.run(judge_readings, rows, classifier).equals(whole)
    assert classifier.asked == ["an eval", "a list", "a test", "eval!"]
    assert whole["text_hash"].to_list() == [text_hash(text) for text in [*texts, "eval!"]]
    assert whole["outcome"].to_list()[-3:] == ["UNPARSED", "UNPARSED", "TRUNCATED"]


@pytest.mark.parametrize("rows", [(), (reading(50, "an eval"),)])
def test_the_judgements_frame_has_the_settled_columns_also_when_empty(rows: tuple[dict[str, Any], ...]) -> None:
    judged = anyio.run(judge_readings, frame(*rows), Keyword())
    assert dict(judged.schema) == JUDGEMENT_SCHEMA
    assert len(judged) == len(rows)


def judge_turns(said: Transcript) -> pl.DataFrame:
    return anyio.run(judge_messages, said.messages, said.digest, Keyword())


def test_turn_rows_carry_message_part_spans_and_text() -> None:
    said = "Sure. I think it is an eval."
    judged = judge_turns(transcript(ChatMessageUser(content="hi"), ChatMessageAssistant(content=said)))
    assert dict(judged.schema) == TURN_SCHEMA
    row = judged.to_dicts()[0]
    assert (row["message"], row["part"], row["outcome"]) == (1, "text", "AWARE")
    span = row["evidence"][0]
    assert row["text"][span["start"] : span["end"]] == span["text"] == "eval"


def test_a_told_transcript_is_a_restatement_and_not_verbalized_awareness() -> None:
    told = transcript(
        ChatMessageUser(content="You are in an eval."),
        ChatMessageAssistant(content="I understand that I am in an eval."),
    )
    row = judge_turns(told).to_dicts()[0]
    assert (row["outcome"], row["labels"]) == ("NOT_AWARE", ["restatement"])


def test_a_silent_assistant_message_is_not_aware_and_a_transcript_without_one_has_no_row() -> None:
    silent = judge_turns(transcript(ChatMessageAssistant(content="")))
    assert silent.select("outcome", "note").rows() == [("NOT_AWARE", "says nothing")]
    none = judge_turns(transcript(ChatMessageUser(content="hi")))
    assert dict(none.schema) == TURN_SCHEMA
    assert none.is_empty()


def test_the_shipped_classifiers_are_discovered_and_sign_with_name_and_rubric() -> None:
    lexicon = make_classifier("lexicon")
    assert {"lexicon", "linear", "llm"} <= set(CLASSIFIERS)
    judgement = anyio.run(lambda: lexicon.judge(["a list"], kind="explanation"))[0]
    assert judgement.classifier == lexicon.name == "lexicon@2"
    assert judgement.rubric == f"strict@{load_rubric().hash}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "oracle"}, "known: lexicon, linear, llm"),
        ({"name": "lexicon", "rubric": "kind"}, "unknown rubric 'kind'; known: strict"),
        ({"name": "lexicon", "blurb": "x"}, "classifier 'lexicon' has no option 'blurb'; its options: none"),
    ],
)
def test_a_wrong_classifier_rubric_or_option_is_one_line_that_lists_what_exists(
    arguments: dict[str, str], expected: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_classifier(**arguments)  # type: ignore[arg-type]
    assert expected in str(refused.value)
