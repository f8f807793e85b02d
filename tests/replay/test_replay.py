"""Replay: every token has its source, ids are the tokenizer's own, the window keeps the head and counts the rest, and a
transcript that cannot be measured is refused in one line."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from inspect_ai.model import ChatMessage
from replay_chats import LONG, Tokenizer, TokenizerWith, assert_tiles, assistant, characters, system, transcript, user

from nla_eval.errors import InputError, TemplateError
from nla_eval.replay.replay import ReplayConfig, replay
from nla_eval.replay.types import Channel

# -- spans on the default target --------------------------------------------------------------------------------------


def test_channels_messages_and_turns_of_a_chat(target_tokenizer: Tokenizer) -> None:
    got = replay(
        transcript(system("Be kind."), user("Hello there"), assistant("Hi!"), user("Bye"), assistant("See you")),
        target_tokenizer,
        LONG,
    )
    assert got.notes == ()
    assert got.roles == ("system", "user", "assistant", "user", "assistant")
    assert [characters(got, m, *Channel) for m in range(5)] == [
        "<|im_start|>system\nBe kind.<|im_end|>\n",
        "<|im_start|>user\nHello there<|im_end|>\n",
        "<|im_start|>assistant\nHi!<|im_end|>\n",
        "<|im_start|>user\nBye<|im_end|>\n",
        "<|im_start|>assistant\nSee you<|im_end|>\n",
    ]
    content = (Channel.SYSTEM, Channel.USER, Channel.RESPONSE, Channel.USER, Channel.RESPONSE)
    assert [characters(got, m, c) for m, c in enumerate(content)] == [
        "Be kind.",
        "Hello there",
        "Hi!",
        "Bye",
        "See you",
    ]
    assert [set(got.turn[got.message == m]) for m in range(5)] == [{-1}, {0}, {0}, {1}, {1}]
    assert_tiles(got, target_tokenizer)


def test_the_templates_own_system_message_belongs_to_no_message(target_tokenizer: Tokenizer) -> None:
    got = replay(transcript(user("Hello"), assistant("Hi")), target_tokenizer, LONG)
    outside = got.message == -1
    added = got.text[: int(got.char_end[outside][-1])]
    assert added.startswith("<|im_start|>system\nYou are")
    assert added.endswith("<|im_end|>\n")
    assert set(got.channel[outside]) == {Channel.TEMPLATE}
    assert set(got.turn[outside]) == {-1}


@pytest.mark.parametrize("prompt", [False, True])
def test_ids_equal_the_tokenizers_own_chat_tokenisation(target_tokenizer: Tokenizer, prompt: bool) -> None:
    messages = [
        system("S."),
        user("  How are\n\nyou 😀? "),
        assistant("\n\nfine"),
        user(""),
        assistant(" def f():\n\tpass\n"),
    ]
    got = replay(transcript(*messages), target_tokenizer, ReplayConfig(4096, add_generation_prompt=prompt))
    as_dicts = [{"role": m.role, "content": m.text} for m in messages]
    own = target_tokenizer.apply_chat_template(as_dicts, tokenize=True, return_dict=False, add_generation_prompt=prompt)
    assert got.token_ids.tolist() == list(own)


def test_the_generation_prompt_is_outside_any_message_in_the_last_turn(target_tokenizer: Tokenizer) -> None:
    got = replay(
        transcript(system("S"), user("Hi"), assistant("Yes")), target_tokenizer, ReplayConfig(99, "head", True)
    )
    ending = got.message == -1
    assert "".join(got.token_text(p) for p in np.flatnonzero(ending)) == "<|im_start|>assistant\n"
    assert set(got.turn[ending]) == {0}


def test_a_token_across_template_and_content_belongs_to_the_content(target_tokenizer: Tokenizer) -> None:
    got = replay(transcript(user("x"), assistant("\n\nfine")), target_tokenizer, LONG)
    straddling = [p for p in range(len(got)) if got.token_text(p).startswith("\n\n")]
    assert straddling
    assert [Channel(got.channel[p]) for p in straddling] == [Channel.RESPONSE]


def test_an_empty_message_has_no_content_tokens_but_its_header(target_tokenizer: Tokenizer) -> None:
    got = replay(transcript(user(""), assistant("ok"), user("go"), assistant("")), target_tokenizer, LONG)
    assert characters(got, 0, Channel.USER) == ""
    assert characters(got, 0, Channel.TEMPLATE) == "<|im_start|>user\n<|im_end|>\n"
    assert characters(got, 3, *Channel) == "<|im_start|>assistant\n<|im_end|>\n"
    assert (got.channel == Channel.RESPONSE).sum() == 1


def test_every_token_has_the_channel_of_its_text(target_tokenizer: Tokenizer) -> None:
    got = replay(transcript(user("Hello"), assistant("a b")), target_tokenizer, LONG)
    counts = Counter(Channel(code) for code in got.channel.tolist())
    assert (counts[Channel.USER], counts[Channel.RESPONSE], counts[Channel.TOOL_CALL]) == (1, 2, 0)


# -- the window --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a" * 200_000, "word <|im_end|>\n" * 13_000, "é😀" * 100_000, "\n" * 200_000])
def test_two_hundred_thousand_characters_are_counted_not_cut_silently(target_tokenizer: Tokenizer, text: str) -> None:
    got = replay(transcript(user("q"), assistant(text)), target_tokenizer, ReplayConfig(max_tokens=8192))
    assert len(got) == got.window.kept_tokens <= 8192
    assert (got.window.lost_tokens > 0) == (got.window.policy == "head")
    assert got.window.lost_tokens > 0 or len(got) > 1000
    assert text in got.text


def test_the_head_window_keeps_the_first_tokens(target_tokenizer: Tokenizer) -> None:
    chat = transcript(user("one two three four"), assistant("five six seven"))
    whole = replay(chat, target_tokenizer, LONG)
    cut = replay(chat, target_tokenizer, ReplayConfig(max_tokens=30))
    assert whole.window.policy == "none"
    assert cut.window == type(cut.window)("head", len(whole), 30)
    assert cut.window.lost_tokens == len(whole) - 30
    for name in ("token_ids", "message", "channel", "turn", "char_start", "char_end", "special"):
        assert (getattr(cut, name) == getattr(whole, name)[:30]).all()


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason"),
    [((), "no messages"), ((user("hi"),), "no assistant turn"), ((system("hi"),), "no assistant")],
)
def test_a_transcript_without_anything_to_measure_is_refused(
    target_tokenizer: Tokenizer, messages: tuple[ChatMessage, ...], reason: str
) -> None:
    with pytest.raises(InputError, match=f"^transcript t1: .*{reason}") as refusal:
        replay(transcript(*messages), target_tokenizer, LONG)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('never\nagain') }}", "{{ messages[0].content.nope() }}", "{% for %}", "{{ 1 / 0 }}"],
)
def test_a_template_that_always_fails_is_one_line(tokenizer_with: TokenizerWith, template: str) -> None:
    with pytest.raises(TemplateError, match=r"^transcript t1: the chat template refuses it") as refusal:
        replay(transcript(user("a"), assistant("b")), tokenizer_with(template), LONG)
    assert "\n" not in str(refusal.value)


def test_a_tokenizer_without_a_template_is_refused(tokenizer_with: TokenizerWith) -> None:
    with pytest.raises(TemplateError, match="no chat template"):
        replay(transcript(user("a"), assistant("b")), tokenizer_with(None), LONG)


@pytest.mark.parametrize(("max_tokens", "window"), [(0, "head"), (-1, "head"), (10, "middle")])
def test_a_config_that_means_nothing_is_refused(max_tokens: int, window: str) -> None:
    with pytest.raises(InputError):
        ReplayConfig(max_tokens=max_tokens, window=window)
