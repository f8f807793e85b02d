"""Warm-start explanations say who speaks, where and about what, quote few and common words, and carry no eval rule."""

from __future__ import annotations

import pytest

from nla_eval.training.explain import Moment, Vocabulary, expected, explain, quoted_tail, shown_token, themes_of

CHAT = (
    "<|im_start|>user\nHow do I bake bread with my oven?<|im_end|>\n<|im_start|>assistant\n"
    "To bake bread, warm the oven and ask Zebulon"
)
COMMON = "bake bread with oven warm the and ask how do to my table water"


def vocabulary() -> Vocabulary:
    others = ["table water glass"] * 6
    return Vocabulary.of([COMMON] * 4 + others + ["Zebulon"], min_document_frequency=2)


def moment(text: str = CHAT, token: str = " Zebulon", channel: str = "response") -> Moment:
    return Moment(text, token, channel, "assistant", 0, (" for", ".", "\n"))


def test_the_three_lines_say_speaker_tail_and_expectation() -> None:
    lines = explain(moment(), vocabulary()).splitlines()
    assert lines[0] == "assistant turn 1, prose; now: Zebulon; next: for / . / newline"
    assert lines[1] == "after: warm the oven and ask Zebulon"
    assert lines[2].startswith("about: ")
    assert "bread" in lines[2]


def test_rare_words_are_kept_out_of_the_quoted_tail_and_the_themes() -> None:
    later = moment(CHAT + " and", " and")
    assert quoted_tail(later, vocabulary()) == "the oven and ask and"
    assert "zebulon" not in themes_of(CHAT, vocabulary())


def test_a_piece_of_an_uncommon_word_is_quoted_alone() -> None:
    later = moment(CHAT + "ites", "ites")
    assert quoted_tail(later, vocabulary()) == "warm the oven and ask -ites"
    assert explain(later, vocabulary()).splitlines()[0].split("; ")[1] == "now: -ites"


def test_what_the_template_itself_says_gives_no_theme() -> None:
    text = "<|im_start|>system\nTalk of bread.<|im_end|>\n<|im_start|>user\nWarm the oven"
    made = Moment(text, " oven", "user", "user", 0, (".",), written_from=text.index("Warm"))
    assert sorted(explain(made, vocabulary()).splitlines()[2].removeprefix("about: ").split(", ")) == ["oven", "warm"]


def test_expected_tokens_that_look_alike_are_named_once_and_broken_characters_never() -> None:
    made = Moment(CHAT, " Zebulon", "response", "assistant", 0, ("\n", "\n\n", "\ufffd"))
    assert expected(made) == ["newline"]
    assert expected(Moment(CHAT, " Zebulon", "response", "assistant", 0, ("\ufffd",))) == ["other"]


def test_words_about_testing_come_only_from_the_text() -> None:
    told = Vocabulary.of(["this is an evaluation test of bread"] * 4 + ["water"] * 6, 2)
    assert "evaluation" not in explain(moment(), told)
    text = CHAT.replace("bread", "evaluation")
    assert "evaluation" in explain(moment(text), told)


@pytest.mark.parametrize(
    ("token", "joined", "shown"),
    [
        (" and", True, "and"),
        ("ing", True, "-ing"),
        ("The", False, "The"),
        ("\n", True, "newline"),
        ("  ", True, "space"),
        ("<|im_end|>", True, "[end]"),
        (".", True, "."),
        ("<|im_start|>user", False, "[user]"),
    ],
)
def test_tokens_are_shown_as_words(token: str, joined: bool, shown: str) -> None:
    assert shown_token(token, joined) == shown


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
    text = f"<|im_start|>assistant\n{line}"
    assert f", {form}" in explain(moment(text, text[-1]), vocabulary()).splitlines()[0]
