"""Under a stratified policy a channel weighs its tokens in the transcript, not its positions in the sample."""

from __future__ import annotations

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import tally
from tests.tally.edits import QUICK, edit, headline_of

K = 10


def stratified(sizes: dict[str, int] | None) -> Frames:
    """Every transcript is read at five tool calls, all aware, and at five tokens of its answer, none aware; so is the
    donor lane."""
    frames = planted_frames(
        [
            Arm("exam", "evaluation", 10, 2, aware=1.0, density=1.0, donor=True, positions=K),
            Arm("chat", "deployment", 10, 1, aware=0.0, positions=K),
        ]
    )
    rank = pl.col("position").rank("dense").over("transcript_digest", "lane")
    called = pl.when(rank <= K // 2).then(pl.lit("tool_call")).otherwise(pl.lit("response"))
    readings = frames.readings.with_columns(channel=called)
    key = ["transcript_digest", "position", "lane"]
    labels = frames.judgements.filter(pl.col("outcome") == "AWARE")["labels"][0].to_list()
    at_call = pl.col("channel") == "tool_call"
    judgements = frames.judgements.join(readings.select(*key, "channel"), on=key).with_columns(
        outcome=pl.when(at_call).then(pl.lit("AWARE")).otherwise(pl.lit("NOT_AWARE")),
        labels=pl.when(at_call).then(pl.lit(labels)).otherwise(pl.lit([], dtype=pl.List(pl.String()))),
    )
    given = None if sizes is None else [{"channel": name, "tokens": tokens} for name, tokens in sizes.items()]
    kind = pl.List(pl.Struct({"channel": pl.String(), "tokens": pl.Int64()}))
    transcripts = frames.transcripts.with_columns(channel_tokens=pl.lit(given, dtype=kind))
    return edit(frames, readings=readings, judgements=judgements.drop("channel"), transcripts=transcripts)


@pytest.mark.parametrize(
    ("sizes", "fraction"),
    [
        pytest.param(None, 0.5, id="no-sizes-as-in-older-stores"),
        pytest.param({"tool_call": 50, "response": 50}, 0.5, id="as-many-of-each"),
        pytest.param({"tool_call": 50, "response": 950}, 0.05, id="few-calls"),
        pytest.param({"tool_call": 50, "response": 900, "user": 50}, 50 / 950, id="a-small-channel-unread"),
        pytest.param({"tool_call": 3, "response": 995}, 5 / 1000, id="fewer-tokens-said-than-read"),
    ],
)
def test_the_fraction_weighs_channels_by_their_tokens(sizes: dict[str, int] | None, fraction: float) -> None:
    found = headline_of(tally(stratified(sizes), QUICK), "exam")
    assert found.lane("measured").fraction.value == pytest.approx(fraction)
    assert found.lane("measured").any_of_k.aware == 20
    assert found.lane("donor").fraction.value == pytest.approx(fraction)
    less = next(control for control in found.controls if control.lane == "donor")
    assert less.fraction_difference.value == pytest.approx(0.0)


def test_a_transcript_whose_unread_channels_are_large_has_no_fraction() -> None:
    found = headline_of(tally(stratified({"tool_call": 50, "response": 500, "user": 450}), QUICK), "exam")
    assert found.lane("measured").fraction.value is None
    assert found.lane("measured").any_of_k.aware == 20
