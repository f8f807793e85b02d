"""Parts contain what their names say, formats arrange them, and the error for a wrong part names it."""

from __future__ import annotations

import pytest

from nla_eval.errors import InputError
from nla_eval.training.config import ExplanationConfig, formats
from nla_eval.training.explanations.explain import Vocabulary
from nla_eval.training.explanations.explanation_parts import PARTS, explain, joined, largest, parse_part, pieces
from tests.training.test_explain import CHAT, moment, vocabulary


def said(part: str, text: str = CHAT, token: str = " Zebulon", channel: str = "response", **given: object) -> str:
    return explain(moment(text, token, channel, **given), vocabulary(), [[part]])


def test_the_present_format_says_speaker_tail_and_expectation() -> None:
    lines = explain(moment(), vocabulary(), formats()["present"]).splitlines()
    assert lines[0] == "assistant turn 1, prose; now: Zebulon; next: for / . / newline"
    assert lines[1] == "after: warm the oven and ask Zebulon"
    assert lines[2].startswith("about: ")
    assert "bread" in lines[2]


def test_rare_words_are_kept_out_of_quote_themes_and_continuation() -> None:
    assert said("tail(6)", CHAT + " and", " and") == "after: the oven and ask and"
    assert "zebulon" not in said("near(9)")
    assert said("continuation(4)", continuation=" warm Zebulon water") == "going on: warm water"


def test_a_piece_of_an_uncommon_word_is_quoted_alone() -> None:
    assert said("tail(6)", CHAT + "ites", "ites") == "after: warm the oven and ask -ites"
    assert said("now", CHAT + "ites", "ites") == "now: -ites"


def test_what_the_template_itself_says_gives_no_theme() -> None:
    text = "<|im_start|>system\nTalk of bread.<|im_end|>\n<|im_start|>user\nWarm the oven"
    got = said("near(3)", text, " oven", "user", written_from=text.index("Warm"))
    assert sorted(got.removeprefix("about: ").split(", ")) == ["oven", "warm"]


def test_themes_are_of_the_whole_context_and_leave_out_what_is_quoted() -> None:
    long = CHAT.replace("How do I", "glass glass glass glass glass. How do I") + " to bake bread"
    lines = [["themes(2)"], ["tail(2)"]]
    first, second = explain(moment(long, " bread"), vocabulary(), lines).splitlines()
    assert "glass" in first
    assert "bread" not in first
    assert second == "after: bake bread"


def test_topic_words_stand_outside_the_recent_tokens() -> None:
    text = CHAT.replace("my oven", "my oven at the glass table")
    assert said("topic(9)", text, recent_from=text.index("To bake")) == "lately: glass, table"
    assert said("topic(9)", text, recent_from=0) == ""


def test_a_continuation_that_goes_on_a_word_begins_with_a_hyphen() -> None:
    assert said("continuation(3)", CHAT.replace("Zebulon", "oven"), " oven", continuation="oven water") == (
        "going on: -oven water"
    )


def test_words_about_testing_come_only_from_the_text() -> None:
    told = Vocabulary.of(["this is an evaluation test of bread"] * 4 + ["water"] * 6, 2)
    everything = [[f"{name}(8)" if PARTS.get(name).sized else name for name in PARTS]]
    assert "evaluation" not in explain(moment(), told, everything)
    assert "evaluation" in explain(moment(CHAT.replace("bread", "evaluation")), told, everything)


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("```python\nx = 1", "code"),
        ("Steps:\n1. warm", "list"),
        ("| a | b |", "table"),
        ("Is it warm?", "question"),
        ("It is warm", "prose"),
        ("It is warm\n", "new line"),
        ("", "opening"),
    ],
)
def test_the_form_of_the_place_is_named(line: str, form: str) -> None:
    assert said("form", f"<|im_start|>assistant\n{line}", line[-1:]) == form


@pytest.mark.parametrize(
    ("asked", "channel", "says"),
    [
        ("Is it warm?", "response", "replying to a question"),
        ("what is warm", "user", "asking with a question"),
        ("Warm it up.", "response", "replying to an instruction"),
        ("```c\nx;\n``` wrong", "response", "replying to code"),
        ("continue", "response", "replying to a wish to go on"),
        ("water " * 200, "response", "replying to a long text"),
    ],
)
def test_the_request_is_told_by_its_form(asked: str, channel: str, says: str) -> None:
    text = f"<|im_start|>user\n{asked}" + ("" if channel == "user" else "<|im_end|>\n<|im_start|>assistant\nWell")
    assert said("request", text, text[-4:], channel) == says


@pytest.mark.parametrize(
    ("token", "kind"),
    [(" the", "a function word"), (" Oven", "a capitalised word"), (" oven", "a content word"),
     (".", "the end of a sentence"), (",", "a punctuation mark"),
     ("7", "a number"), ("\n", "a break"), ("ites", "the rest of a word")],
)  # fmt: skip
def test_the_kind_of_the_final_token_is_named(token: str, kind: str) -> None:
    assert said("kind", CHAT + token, token) == kind


def test_leaving_a_part_out_leaves_the_others_as_they_are() -> None:
    made = pieces(moment(), vocabulary(), formats()["present"])
    whole, without = joined(made), joined(made, without="tail")
    assert whole.splitlines()[0] == without.splitlines()[0]
    assert "after:" in whole
    assert "after:" not in without


@pytest.mark.parametrize("text", ["themes", "speaker(3)", "evaluation", "tail(0)", "tail(a)"])
def test_a_part_that_does_not_exist_or_has_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_part(text)


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_committed_format_is_readable(name: str) -> None:
    config = ExplanationConfig.model_validate(name)
    assert explain(moment(continuation=" water"), vocabulary(), config.lines)
    assert config.continuation >= largest(config.lines, "continuation")
