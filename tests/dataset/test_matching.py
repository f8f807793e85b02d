"""Matching: the drawn arm resembles the suite, the seed breaks ties, languages match exactly, small pools refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from inspect_ai.tool import ToolCall

from nla_eval.awareness import awareness_task
from nla_eval.commands.read import ReadRequest, _transcripts
from nla_eval.dataset.matching import MatchedArm, Measure, match, parse_measures
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.errors import InputError
from nla_eval.inspect_ext.target_api import PrerequisiteError
from nla_eval.pipeline.plan import ReadingPlan
from nla_eval.store.rows import Fact
from nla_eval.suite import get_suite
from nla_eval.transcript import Arm, Provenance, Transcript
from tests import planted_task  # noqa: F401  (registers the engine "planted")

GERMAN = "Das ist ein ganz gewöhnlicher Satz über den Garten und das Wetter von gestern. "
ENGLISH = "This is a perfectly ordinary sentence about the garden and yesterday's weather. "


def talk(
    name: str, sentences: int, turns: int = 1, calls: int = 0, arm: Arm = Arm.DEPLOYMENT, text: str = ENGLISH
) -> Transcript:
    tools = [ToolCall(id=f"c{n}", function="f", arguments={}) for n in range(calls)]
    messages = []
    for turn in range(turns):
        messages.append(ChatMessageUser(content=f"{name} {turn} " + text * sentences))
        messages.append(ChatMessageAssistant(content="", tool_calls=tools or None))
    return Transcript(id=name, messages=messages, arm=arm, suite="s", family=name, provenance=Provenance(source="test"))


def wanted(*sizes: int, **kwargs: int) -> list[Transcript]:
    return [talk(f"e{n}", size, arm=Arm.EVALUATION, **kwargs) for n, size in enumerate(sizes)]


def test_the_nearest_in_length_are_drawn_and_the_balance_is_even() -> None:
    pool = [talk(f"d{n}", n + 1) for n in range(20)]
    made = match(wanted(3, 9), pool, [Measure.LENGTH])
    assert [t.id for t in made.transcripts] == ["d2", "d8"]
    assert made.arm.even
    (row,) = made.arm.balance
    assert row.before is not None
    assert row.after is not None
    assert abs(row.after) < 0.02 < abs(row.before)


def test_turns_and_tools_are_matched_too() -> None:
    pool = [talk(f"t{turns}c{calls}", 2, turns=turns, calls=calls) for turns in (1, 2, 5) for calls in (0, 3)]
    suite = [talk("e", 2, turns=5, calls=3, arm=Arm.EVALUATION)]
    assert match(suite, pool, parse_measures("length,turns,tools")).transcripts[0].id == "t5c3"


def test_an_answer_is_not_matched_on() -> None:
    long_answer = talk("e", 3, arm=Arm.EVALUATION)
    long_answer.messages[-1] = ChatMessageAssistant(content=ENGLISH * 50)
    pool = [talk("short", 3), talk("long", 60)]
    assert match([long_answer], pool, [Measure.LENGTH]).transcripts[0].id == "short"


def test_languages_are_exact_even_where_the_other_is_nearer() -> None:
    pool = [talk("english", 3), talk("german", 30, text=GERMAN)]
    made = match([talk("e", 3, arm=Arm.EVALUATION, text=GERMAN)], pool, parse_measures("length,language"))
    assert made.transcripts[0].id == "german"
    assert [row.measure for row in made.arm.balance] == ["length", "language=de"]
    assert not made.arm.even


def test_equal_donors_fall_by_the_seed_and_always_the_same() -> None:
    pool = [talk(f"d{n:02}", 3) for n in range(40)]
    drawn = [
        tuple(t.id for t in match(wanted(3, 3, 3), pool, [Measure.LENGTH], seed).transcripts) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_only_the_deployment_arm_gives_donors_and_no_copy_of_the_suite() -> None:
    suite = wanted(3)
    copy = suite[0].model_copy(update={"arm": Arm.DEPLOYMENT, "id": "copy"})
    pool = [copy, talk("m", 3, arm=Arm.MONITOR), talk("d", 9)]
    made = match(suite, pool, [Measure.LENGTH])
    assert (made.transcripts[0].id, made.arm.donors) == ("d", 1)


@pytest.mark.parametrize(
    ("pool", "measures", "complaint"),
    [
        ([], "length", r"too few donors: 0 deployment transcripts for 2 "),
        ([talk("d", 1)], "length", r"too few donors: 1 .* for 2 of the suite; give a larger pool"),
        (
            [talk("a", 1), talk("b", 1, text=GERMAN)],
            "language",
            r"too few donors: 1 deployment transcripts in 'en' for 2",
        ),
    ],
)
def test_too_small_a_pool_is_refused(pool: list[Transcript], measures: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        match(wanted(1, 2), pool, parse_measures(measures))


def test_a_suite_without_transcripts_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to match"):
        match([], [talk("d", 1)], [Measure.LENGTH])


@pytest.mark.parametrize("names", ["", "colour", "length,length", "length;turns"])
def test_measures_that_mean_nothing_are_refused(names: str) -> None:
    with pytest.raises(InputError, match="known: length, turns, tools, language"):
        parse_measures(names)


def test_a_difference_without_a_scale_is_said_to_have_none() -> None:
    made = match(wanted(3, 3), [talk("a", 3, calls=2), talk("b", 3, calls=2)], [Measure.TOOLS])
    assert made.arm.balance[0].after == 0.0, "calls of the last turn are an answer"
    longer = match(wanted(3, 3, turns=2, calls=1), [talk("a", 3), talk("b", 3)], [Measure.TOOLS])
    assert longer.arm.balance[0].after is None
    assert "without scale" in longer.arm.describe()
    assert "not even" in longer.arm.describe()


class TestTaskOption:
    def test_a_deployment_suite_is_drawn_to_resemble_another(self, capsys: pytest.CaptureFixture[str]) -> None:
        made = awareness_task(get_suite("hard_negatives"), match="length,turns", match_to="capability_chat")
        assert len(made.dataset) == get_suite("capability_chat").card.count
        assert made.metadata is not None
        kept = MatchedArm.model_validate(made.metadata["matched"])
        assert (kept.wanted, kept.pool) == (("capability_chat",), ("hard_negatives",))
        assert kept.drawn == len(made.dataset) < kept.donors
        assert "before" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("suite", "options", "complaint"),
        [
            ("hard_negatives", {"match": "length"}, "match and match_to go together"),
            ("hard_negatives", {"match_to": "capability_chat"}, "match and match_to go together"),
            ("hard_negatives", {"match": "size", "match_to": "capability_chat"}, "known: length"),
            ("capability_chat", {"match": "length", "match_to": "hard_negatives"}, "is of the evaluation arm"),
            ("hard_negatives", {"match": "length", "match_to": "nowhere"}, "unknown suite 'nowhere'"),
        ],
    )
    def test_a_wrong_option_is_one_line(self, suite: str, options: dict[str, str], complaint: str) -> None:
        with pytest.raises(PrerequisiteError, match=complaint):
            awareness_task(get_suite(suite), **options)


def test_the_command_reads_only_those_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, usage = tmp_path / "runs.jsonl", tmp_path / "usage.jsonl"
    write_chats(runs, [6, 10, 40], "an answer of the evaluation")
    write_chats(usage, [1, 5, 9, 13, 17], "an answer")
    request = ReadRequest(
        (str(runs), "minimal_pairs"), (str(usage),), str(tmp_path / "store"),
        ReadingPlan(), RuntimeSettings(target="bytes", engine="planted"), limit=2,
        match=parse_measures("length"), plan_only=True,
    )  # fmt: skip
    facts: list[Fact] = []
    read = list(_transcripts(request, facts))
    assert [t.id for t in read if t.arm is Arm.EVALUATION] == ["chat0", "chat1"], "the limit holds for the suite"
    assert [t.id for t in read if t.arm is Arm.DEPLOYMENT] == ["chat1", "chat2"], "the pool is read whole"
    assert "matched 2 of 5 deployment transcripts" in capsys.readouterr().out
    of = {fact.about: fact for fact in facts}
    assert of["design"].suite == "minimal_pairs"
    kept = MatchedArm.model_validate_json(of["matched"].fact)
    assert (kept.drawn, kept.donors, kept.wanted, kept.pool) == (2, 5, ("runs",), ("usage",))
    assert [(row.measure, row.even) for row in kept.balance] == [("length", True)]


def write_chats(path: Path, sentences: list[int], answer: str) -> None:
    """One chat a line whose user says so many sentences."""
    rows = [
        {
            "id": f"chat{n}",
            "messages": [{"role": "user", "content": ENGLISH * count}, {"role": "assistant", "content": answer}],
        }
        for n, count in enumerate(sentences)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
