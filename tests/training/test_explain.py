"""Warm-start explanations say who speaks, where and about what, quote few and common words, and carry no eval rule."""

from __future__ import annotations

import pytest

from nla_eval.training.explain import Moment, Vocabulary, explain, quoted_tail, shown_token, themes_of

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
    assert lines[0].startswith("assistant turn 1, prose; about ")
    assert "bread" in lines[0]
    assert lines[1] == "after: warm the oven and ask"
    assert lines[2] == "now: Zebulon; next: for / . / newline"


def test_rare_words_are_kept_out_of_the_quoted_tail_and_the_themes() -> None:
    later = moment(CHAT + " and", " and")
    assert quoted_tail(later, vocabulary()) == "the oven and ask …"
    assert "zebulon" not in themes_of(CHAT, vocabulary())


def test_words_about_testing_come_only_from_the_text() -> None:
    told = Vocabulary.of(["this is an evaluation test of bread"] * 4 + ["water"] * 6, 2)
    assert "evaluation" not in explain(moment(), told)
    text = CHAT.replace("bread", "evaluation")
    assert "evaluation" in explain(moment(text), told)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" and", "and"),
        ("ing", "-ing"),
        ("\n", "newline"),
        ("  ", "space"),
        ("<|im_end|>", "[end]"),
        (".", "."),
        ("<|im_start|>user", "[user]"),
    ],
)
def test_tokens_are_shown_as_words(token: str, shown: str) -> None:
    assert shown_token(token) == shown


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
