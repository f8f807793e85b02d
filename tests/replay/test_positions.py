"""Position policies: what they choose, that only the transcript seeds them, and that they never read special tokens."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall
from transformers import PreTrainedTokenizerBase

from nla_eval.errors import InputError
from nla_eval.replay.positions import POLICIES, Policy, channel_tokens, parse_policy, sample_positions
from nla_eval.replay.replay import ReplayConfig, replay
from nla_eval.replay.types import Channel, Replay, Window
from nla_eval.transcript import Arm, Provenance, Transcript

EVERY = ["uniform_response(5)", "uniform_assistant(5)", "evenly(5)", "stratified(7)", "boundaries", "all", "last"]


def made(
    channel: list[int],
    *,
    turn: list[int] | None = None,
    message: list[int] | None = None,
    special: list[bool] | None = None,
    roles: tuple[str, ...] = ("user", "assistant"),
    lost: int = 0,
    digest: str = "d",
) -> Replay:
    """A replay of one-character tokens with these channels; content of a user is message 0, all else message 1."""
    n = len(channel)
    at = np.arange(n, dtype=np.int32)
    return Replay(
        transcript_id="t",
        transcript_digest=digest,
        text="x" * (n + lost),
        token_ids=at,
        message=np.array(message if message is not None else [int(c != Channel.USER) for c in channel], dtype=np.int32),
        channel=np.array(channel, dtype=np.int8),
        turn=np.array(turn if turn is not None else [0] * n, dtype=np.int32),
        char_start=at,
        char_end=at + np.int32(1),
        special=np.array(special if special is not None else [False] * n, dtype=np.bool_),
        roles=roles,
        window=Window("head" if lost else "none", n + lost, n),
        template_hash="h",
    )


REPLAYS = st.lists(
    st.tuples(st.sampled_from([int(c) for c in Channel]), st.integers(0, 3), st.booleans()), min_size=1, max_size=60
).map(
    lambda rows: made(
        [c for c, _, _ in rows], turn=sorted(t for _, t, _ in rows), special=[s and c == 0 for c, _, s in rows]
    )
)


def positions(replayed: Replay, policy: str, seed: int = 0, min_position: int = 0) -> list[int]:
    return sample_positions(replayed, parse_policy(policy), seed=seed, min_position=min_position).tolist()


@given(REPLAYS, st.sampled_from(EVERY), st.integers(0, 5), st.integers(0, 70))
def test_every_policy_gives_ascending_unique_readable_positions(
    replayed: Replay, policy: str, seed: int, min_position: int
) -> None:
    got = sample_positions(replayed, parse_policy(policy), seed=seed, min_position=min_position)
    assert got.dtype == np.int64
    assert (np.diff(got) > 0).all()
    assert ((got >= min_position) & (got < len(replayed))).all()
    assert not replayed.special[got].any()
    assert got.tolist() == positions(replayed, policy, seed, min_position)


@given(REPLAYS, st.integers(1, 40), st.integers(0, 30))
def test_uniform_response_takes_k_visible_response_tokens_or_all(replayed: Replay, k: int, min_position: int) -> None:
    pool = [p for p in range(min_position, len(replayed)) if replayed.channel[p] == Channel.RESPONSE]
    got = positions(replayed, f"uniform_response({k})", min_position=min_position)
    assert len(got) == min(k, len(pool))
    assert set(got) <= set(pool)


@given(REPLAYS, st.integers(1, 40))
def test_uniform_assistant_takes_k_tokens_of_assistant_turns_or_all(replayed: Replay, k: int) -> None:
    written = {Channel.RESPONSE, Channel.THINKING, Channel.TOOL_CALL}
    pool = {p for p in range(len(replayed)) if Channel(replayed.channel[p]) in written}
    got = positions(replayed, f"uniform_assistant({k})")
    assert len(got) == min(k, len(pool))
    assert set(got) <= pool


@given(REPLAYS, st.integers(1, 40), st.integers(0, 9))
def test_evenly_takes_the_same_spaced_tokens_of_assistant_turns_under_every_seed(
    replayed: Replay, k: int, seed: int
) -> None:
    written = {Channel.RESPONSE, Channel.THINKING, Channel.TOOL_CALL}
    pool = [p for p in range(len(replayed)) if Channel(replayed.channel[p]) in written]
    got = positions(replayed, f"evenly({k})")
    assert len(got) == min(k, len(pool))
    assert set(got) <= set(pool)
    assert not pool or k == 1 or {got[0], got[-1]} == {pool[0], pool[-1]}
    gaps = np.diff([pool.index(p) for p in got])
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    assert list(positions(replayed, f"evenly({k})", seed=seed)) == list(got)


@given(REPLAYS, st.integers(1, 40))
def test_stratified_takes_k_content_tokens_or_all(replayed: Replay, k: int) -> None:
    pool = {p for p in range(len(replayed)) if replayed.channel[p] != Channel.TEMPLATE}
    got = positions(replayed, f"stratified({k})")
    assert len(got) == min(k, len(pool))
    assert set(got) <= pool


@given(REPLAYS, st.integers(0, 30))
def test_strata_are_the_tokens_that_the_stratified_policy_draws_from(replayed: Replay, min_position: int) -> None:
    everything = positions(replayed, "stratified(100000)", min_position=min_position)
    drawn = Counter(Channel(replayed.channel[position]).label for position in everything)
    assert channel_tokens(replayed, min_position=min_position) == drawn


@given(REPLAYS)
def test_all_is_everything_but_special_tokens(replayed: Replay) -> None:
    assert positions(replayed, "all") == np.flatnonzero(~replayed.special).tolist()


def test_uniform_response_is_uniform() -> None:
    replayed = made([Channel.RESPONSE] * 10)
    counts = Counter(p for seed in range(2000) for p in positions(replayed, "uniform_response(3)", seed))
    # Each token is drawn 600 times on average, standard deviation 20.5.
    assert set(counts) == set(range(10))
    assert all(abs(count - 600) < 5 * 20.5 for count in counts.values())


def test_stratified_is_even_over_turns_channels_and_deciles_where_every_cell_is_filled() -> None:
    channels = [Channel.USER, Channel.RESPONSE, Channel.TOOL_RESULT]
    replayed = made([channels[p % 3] for p in range(900)], turn=[(p // 3) % 2 for p in range(900)])
    for k in (6, 12, 30, 31):
        got = np.array(positions(replayed, f"stratified({k})"))
        for margin, values in ((replayed.channel[got], 3), (replayed.turn[got], 2), (got * 10 // 900, 10)):
            counts = np.bincount(np.unique(margin, return_inverse=True)[1], minlength=values)
            assert counts.max() - counts.min() <= 1, (k, counts)


def test_stratified_reaches_a_rare_channel_and_a_short_turn() -> None:
    channel = [Channel.RESPONSE] * 500
    channel[100] = Channel.THINKING
    turn = [0] * 490 + [1] * 10
    for seed in range(10):
        got = positions(made(channel, turn=turn), "stratified(4)", seed)
        assert 100 in got
        assert any(p >= 490 for p in got)


def test_draws_depend_on_seed_transcript_and_policy_only() -> None:
    channel = [Channel.RESPONSE] * 400
    base = positions(made(channel), "uniform_response(20)", 1)
    assert positions(made(channel), "uniform_response(20)", 1) == base
    assert positions(made(channel), "uniform_response(20)", 2) != base
    assert positions(made(channel, digest="e"), "uniform_response(20)", 1) != base
    assert not set(positions(made(channel), "uniform_response(21)", 1)) >= set(base)


@pytest.mark.parametrize("text", [*EVERY, "uniform_response(50)"])
def test_a_policy_reads_back_what_it_writes(text: str) -> None:
    assert str(parse_policy(text)) == text
    assert parse_policy(str(parse_policy(f" {text} "))) == parse_policy(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("uniform_response", "needs a number"),
        ("stratified(0)", "needs a number"),
        ("boundaries(3)", "takes no number"),
        ("every", "known: all, boundaries, evenly, last, stratified, uniform_assistant, uniform_response"),
        ("stratified(-1)", "cannot read"),
        ("stratified(3", "cannot read"),
        ("", "cannot read"),
    ],
)
def test_a_policy_that_means_nothing_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refusal:
        parse_policy(text)
    assert "\n" not in str(refusal.value)


def test_a_policy_cannot_be_built_past_the_check() -> None:
    with pytest.raises(InputError):
        Policy("uniform_response")
    drawn = {"uniform_response", "uniform_assistant", "stratified"}
    assert set(POLICIES) == {*drawn, "evenly", "boundaries", "all", "last"}


# -- on a real replay --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conversation(target_tokenizer: PreTrainedTokenizerBase) -> tuple[Transcript, Replay]:
    thought = [ContentReasoning(reasoning="let me think"), ContentText(text="I will look.")]
    call = ToolCall(id="c", function="bash", arguments={"cmd": "ls"})
    transcript = Transcript(
        id="t",
        messages=[
            ChatMessageSystem(content="You are kind."),
            ChatMessageUser(content="What is here?"),
            ChatMessageAssistant(content=thought, tool_calls=[call]),
            ChatMessageTool(content="a b", tool_call_id="c", function="bash"),
            ChatMessageAssistant(content="Two files."),
            ChatMessageUser(content="Thanks a lot"),
            ChatMessageAssistant(content="You are welcome"),
        ],
        arm=Arm.DEPLOYMENT,
        suite="s",
        family="f",
        provenance=Provenance(source="test"),
    )
    return transcript, replay(transcript, target_tokenizer, ReplayConfig(max_tokens=4096))


def test_boundaries_are_the_users_last_token_and_the_start_of_each_answer(
    conversation: tuple[Transcript, Replay],
) -> None:
    _, replayed = conversation
    got = [(int(replayed.message[p]), replayed.token_text(p)) for p in positions(replayed, "boundaries")]
    assert got == [(1, "?"), (2, "\n"), (4, "\n"), (5, " lot"), (6, "\n")]


def test_last_is_the_last_token_of_the_last_answer(conversation: tuple[Transcript, Replay]) -> None:
    _, replayed = conversation
    assert [replayed.token_text(p) for p in positions(replayed, "last")] == [" welcome"]


def test_responses_leave_out_thinking_and_tool_calls(conversation: tuple[Transcript, Replay]) -> None:
    _, replayed = conversation
    got = positions(replayed, "uniform_response(1000)")
    assert "".join(replayed.token_text(p) for p in got) == "I will look.Two files.You are welcome"


def test_nothing_is_called_last_when_the_window_cuts_the_last_answer(
    conversation: tuple[Transcript, Replay], target_tokenizer: PreTrainedTokenizerBase
) -> None:
    transcript, whole = conversation
    (last,) = positions(whole, "last")
    for kept, expected in ((last, []), (last + 1, []), (last + 2, [last]), (last - 12, [])):
        cut = replay(transcript, target_tokenizer, ReplayConfig(max_tokens=kept))
        assert positions(cut, "last") == expected, kept


def test_a_user_turn_cut_by_the_window_has_no_end(
    conversation: tuple[Transcript, Replay], target_tokenizer: PreTrainedTokenizerBase
) -> None:
    transcript, whole = conversation
    ends = [p for p in positions(whole, "boundaries") if whole.roles[whole.message[p]] == "user"]
    cut = replay(transcript, target_tokenizer, ReplayConfig(max_tokens=ends[1]))
    assert [p for p in positions(cut, "boundaries") if cut.roles[cut.message[p]] == "user"] == ends[:1]
