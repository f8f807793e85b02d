"""Where awareness is found: every judged position is counted once in each cut, and recurrence counts transcripts."""

from __future__ import annotations

import polars as pl
import pytest
from planted import SHOWCASE, Arm, planted_frames
from planted_chats import planted_chats

from nla_eval.judgement import Headline
from nla_eval.stats.interval import Resampling
from nla_eval.tally.tally import TallyOptions
from nla_eval.tally.verdicts import verdicts
from nla_eval.tally.where import Where, where

DEFINITIONS = TallyOptions().definitions


@pytest.fixture(scope="module")
def found() -> Where:
    return where(verdicts(planted_chats(SHOWCASE, draws=2).frames, DEFINITIONS), Headline.PAPER)


@pytest.mark.parametrize("cut", ["depth", "channel", "turn", "score"])
def test_every_judged_position_stands_in_one_group_of_a_cut(found: Where, cut: str) -> None:
    rows = planted_chats(SHOWCASE, draws=2).frames.readings
    judged = rows.filter((pl.col("lane") == "measured") & (pl.col("stop") == "closed"))
    assert sum(c.judged for c in getattr(found, cut)) == judged.select("transcript_digest", "position").n_unique()
    assert {c.arm for c in getattr(found, cut)} == {"evaluation", "deployment"}
    for one in getattr(found, cut):
        assert one.rate.value == pytest.approx(one.aware / one.judged)


def test_the_deployment_arm_stands_last_and_channels_are_those_read(found: Where) -> None:
    assert [c.arm for c in found.channel] == ["evaluation", "evaluation", "deployment", "deployment"]
    assert {c.group for c in found.channel} == {"thinking", "response"}


def test_awareness_that_grows_with_depth_is_seen_there() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 20, 1, 0.0, positions=20, tokens=1000)])
    late = pl.col("position") >= 600
    marked = frames.judgements.with_columns(
        outcome=pl.when(late).then(pl.lit("AWARE")).otherwise("outcome"),
        labels=pl.when(late).then(pl.lit(["belief"])).otherwise("labels"),
    )
    found = where(verdicts(type(frames)(**{**vars(frames), "judgements": marked}), DEFINITIONS), Headline.PAPER)
    rates = [c.rate.value for c in found.depth]
    assert rates[0] == rates[1] == 0
    assert rates == sorted(rates)
    assert rates[-1] == 1


def test_recurrence_counts_flagged_transcripts_by_their_aware_positions(found: Where) -> None:
    for row in found.recurrence:
        assert sum(row.groups.values()) == row.flagged <= row.transcripts
    measured = next(r for r in found.recurrence if (r.arm, r.lane) == ("evaluation", "measured"))
    assert measured.groups["5 or more"] > 0


def test_nothing_judged_gives_no_cut() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 2, 1, 0.5)])
    empty = type(frames)(frames.readings.clear(), frames.judgements.clear(), frames.turns, frames.transcripts)
    found = where(verdicts(empty, DEFINITIONS), Headline.PAPER, Resampling(resamples=10))
    assert (found.depth, found.channel, found.recurrence) == ([], [], [])
