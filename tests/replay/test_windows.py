"""Windows: if a transcript exceeds the target's context, the declared part is read; a tail keeps whole messages. Every
token keeps its index in the whole transcript, and tokens left out are counted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import ChatMessage
from replay_chats import LONG, Tokenizer, assistant, call, characters, result, system, transcript, user

from nla_eval.errors import InputError
from nla_eval.replay.positions import parse_policy, sample_positions
from nla_eval.replay.replay import ReplayConfig, replay
from nla_eval.replay.types import Channel
from nla_eval.replay.window import tails

TURNS = [
    m for n in range(6) for m in (user(f"Question {n}: {'what now ' * 9}"), assistant(f"Answer {n} {'so be it ' * 9}"))
]
CHAT = [system("Be kind."), *TURNS]
STEPS = [m for n in range(6) for m in (assistant(f"Step {n}", call("bash", cmd="ls")), result(f"{n} " + "file " * 30))]
AGENT = [system("You are an agent."), user("Tidy up."), *STEPS, assistant("Done.")]


def tail(tokens: int) -> ReplayConfig:
    return ReplayConfig(max_tokens=tokens, window="tail")


def kept(messages: list[ChatMessage], tokenizer: Tokenizer, tokens: int) -> list[int]:
    """Messages of which something is kept."""
    return sorted(set(replay(transcript(*messages), tokenizer, tail(tokens)).message.tolist()) - {-1})


def test_the_tail_keeps_how_it_begins_and_the_last_turns_that_fit(target_tokenizer: Tokenizer) -> None:
    whole = replay(transcript(*CHAT), target_tokenizer, LONG)
    sizes = np.bincount(whole.message)
    two_turns = int(sizes[[0, 1]].sum() + sizes[-4:].sum())
    assert kept(CHAT, target_tokenizer, two_turns) == [0, 1, 9, 10, 11, 12]
    assert kept(CHAT, target_tokenizer, two_turns - 1) == [0, 1, 11, 12]
    assert kept(CHAT, target_tokenizer, len(whole)) == list(range(13))


def test_every_token_of_a_tail_knows_its_place_in_the_whole(target_tokenizer: Tokenizer) -> None:
    whole = replay(transcript(*CHAT), target_tokenizer, LONG)
    cut = replay(transcript(*CHAT), target_tokenizer, tail(len(whole) // 2))
    assert (cut.window.policy, cut.window.total_tokens, cut.window.kept_tokens) == ("tail", len(whole), len(cut))
    assert cut.window.lost_tokens > 0
    assert len(cut) <= len(whole) // 2
    assert cut.notes == ("cut_to_tail",)
    assert (cut.transcript_digest, cut.roles) == (whole.transcript_digest, whole.roles)
    for message in set(cut.message.tolist()):
        for channel in Channel:
            assert characters(cut, message, channel) == characters(whole, message, channel)
        assert set(cut.turn[cut.message == message]) == set(whole.turn[whole.message == message])


def test_within_one_long_turn_the_request_stays_and_no_result_lacks_its_call(target_tokenizer: Tokenizer) -> None:
    whole = replay(transcript(*AGENT), target_tokenizer, LONG)
    cut = replay(transcript(*AGENT), target_tokenizer, tail(len(whole) // 2))
    messages = sorted(set(cut.message.tolist()) - {-1})
    assert messages[:2] == [0, 1]
    assert cut.roles[messages[2]] == "assistant"
    assert messages[2:] == list(range(messages[2], len(AGENT)))
    assert len(messages) > 4
    assert characters(cut, messages[-1], Channel.RESPONSE) == "Done."


def test_the_end_of_a_tail_is_an_end(target_tokenizer: Tokenizer) -> None:
    whole = replay(transcript(*CHAT), target_tokenizer, LONG)
    for window, last in (("head", False), ("tail", True)):
        cut = replay(transcript(*CHAT), target_tokenizer, ReplayConfig(len(whole) // 2, window))
        found = sample_positions(cut, parse_policy("last"), seed=0, min_position=0)
        assert (len(found) == 1) == last
    assert int(cut.message[found[0]]) == len(CHAT) - 1


def test_a_message_that_cannot_fit_is_refused_with_the_mend(target_tokenizer: Tokenizer) -> None:
    long = [user("Short."), assistant("word " * 500)]
    with pytest.raises(InputError, match=r"^transcript t1: .*do not fit into 100 tokens.*choose head$"):
        replay(transcript(*long), target_tokenizer, tail(100))
    with pytest.raises(InputError, match=r"has 5\d\d tokens, the target reads 100, and the window is 'skip'"):
        replay(transcript(*long), target_tokenizer, ReplayConfig(100, "skip"))


@pytest.mark.parametrize("window", ["head", "tail", "skip", "whole"])
def test_what_fits_is_the_same_under_every_window(target_tokenizer: Tokenizer, window: str) -> None:
    got = replay(transcript(*CHAT), target_tokenizer, ReplayConfig(100_000, window))
    assert (got.window.policy, got.window.lost_tokens, got.notes) == ("none", 0, ())


@given(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), max_size=14))
@settings(deadline=None)
def test_tails_grow_shorter_and_begin_where_a_turn_or_a_step_does(roles: list[str]) -> None:
    found = list(tails(roles))
    for made in found:
        assert roles[made.start] in ("user", "assistant")
        assert all(index < made.start for index in made.opening)
        assert all(roles[index] in ("system", "user") for index in made.opening)
        assert len(made.opening) + len(roles) - made.start < len(roles)
    sizes = [len(made.opening) + len(roles) - made.start for made in found]
    assert all(longer >= shorter for longer, shorter in pairwise(sizes))
