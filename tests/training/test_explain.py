"""Moments show tokens as words, vocabularies leave rare words out, and no rule adds a word about testing."""

from __future__ import annotations

import pytest

from nla_eval.measure.shown_tokens import messages_of, shown_token
from nla_eval.training.explanations.explain import Moment, Vocabulary, expected

CHAT = (
    "<|im_start|>user\nHow do I bake bread with my oven?<|im_end|>\n<|im_start|>assistant\n"
    "To bake bread, warm the oven and ask Zebulon"
)
COMMON = "bake bread with oven warm the and ask how do to my table water"


def vocabulary() -> Vocabulary:
    others = ["table water glass"] * 6
    return Vocabulary.of([COMMON] * 4 + others + ["Zebulon"], min_document_frequency=2)


def moment(text: str = CHAT, token: str = " Zebulon", channel: str = "response", **given: object) -> Moment:
    return Moment(text, token, channel, "assistant", 0, (" for", ".", "\n"), **given)  # type: ignore[arg-type]


def test_rare_words_and_long_numbers_may_not_be_written() -> None:
    common = vocabulary().common
    assert [w for w in ("bread,", "Zebulon", "1984", "555123", "...") if common(w)] == ["bread,", "1984", "..."]


def test_expected_tokens_that_look_alike_are_named_once_and_broken_characters_never() -> None:
    made = Moment(CHAT, " Zebulon", "response", "assistant", 0, ("\n", "\n\n", "\ufffd"))
    assert expected(made) == ["newline"]
    assert expected(Moment(CHAT, " Zebulon", "response", "assistant", 0, ("\ufffd",))) == ["other"]


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
        ("................", False, "...."),
        ("<|im_start|>user", False, "[user]"),
        ("<|start_header_id|>assistant<|end_header_id|>", False, "[assistant]"),
        ("<end_of_turn>", False, "[end]"),
    ],
)
def test_tokens_are_shown_as_words(token: str, joined: bool, shown: str) -> None:
    assert shown_token(token, joined) == shown


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>user\nWarm it<|im_end|>\n<|im_start|>assistant\nSure",
        "<|start_header_id|>user<|end_header_id|>\n\nWarm it<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nSure",
        "<start_of_turn>user\nWarm it<end_of_turn>\n<start_of_turn>assistant\nSure",
    ],
)
def test_messages_are_told_apart_in_the_templates_of_three_families(text: str) -> None:
    assert [(role, words.strip()) for role, words in messages_of(text)] == [("user", "Warm it"), ("assistant", "Sure")]
