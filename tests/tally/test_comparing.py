"""Arms are compared alike: at a common k, over transcripts admitted by one rule, each suite with its own deployment."""

from __future__ import annotations

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.dataset.matching import MatchedArm, Measure
from nla_eval.stats.interval import Resampling
from nla_eval.tally.comparing import versus_deployment
from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import tally
from nla_eval.tally.units import lane_units
from nla_eval.tally.verdicts import verdicts
from tests.tally.edits import QUICK, edit, headline_of, suite_of

HOW = Resampling(resamples=200)


def arms(k: tuple[int, int], rate: float = 0.1, families: int = 24) -> list[Arm]:
    """A suite and a deployment arm with the same rate per position, read at different numbers of positions."""
    return [
        Arm("exam", "evaluation", families, 1, 0.0, false_positive=rate, positions=k[0]),
        Arm("chat", "deployment", families, 1, 0.0, false_positive=rate, positions=k[1]),
    ]


def joined(*frames: Frames) -> Frames:
    names = ("readings", "judgements", "turns", "transcripts")
    return Frames(**{name: pl.concat([getattr(f, name) for f in frames]) for name in names})


def test_the_same_rate_read_at_more_positions_is_no_difference() -> None:
    worlds, rejected, areas = 30, 0, 0.0
    for seed in range(worlds):
        found = verdicts(planted_frames(arms((12, 4)), seed=seed), QUICK.definitions)
        units = lane_units(found, "measured", QUICK.primary, 0.9)
        sides = [[u for u in units if u.arm == arm] for arm in ("evaluation", "deployment")]
        versus = versus_deployment(*sides, by_channel=False, how=HOW)
        assert (versus.k, versus.admitted) == (4, (24, 24))
        rejected += versus.permutation.p_value <= 0.05
        areas += versus.auroc.value / worlds
    assert rejected <= 5  # P(more of 30 at .05) < .01; 9 are to be expected of any-of-12 against any-of-4
    assert abs(areas - 0.5) < 0.04


def test_arms_of_different_draws_are_compared_at_the_common_number() -> None:
    one = planted_frames([arms((6, 6), families=12)[0]], draws=4)
    two = planted_frames([arms((6, 6), families=12)[1]], draws=1)
    found = tally(joined(one, two), QUICK)
    versus = headline_of(found, "exam").versus_deployment
    assert (versus.draws, versus.k, versus.admitted) == (1, 6, (12, 12))
    lanes = {s.suite: s.under(found.primary).lane("measured") for s in found.suites}
    assert {name: lane.draws for name, lane in lanes.items()} == {"exam": 4, "chat": 1}
    assert [lane.any_of_k.indeterminate for lane in lanes.values()] == [0, 0]


def test_positions_of_a_stratified_policy_are_compared_channel_by_channel() -> None:
    frames = planted_frames(arms((6, 6), families=12))
    thinking = frames.readings.filter(pl.col("position") < 140)
    readings = pl.concat(
        [frames.readings.filter(pl.col("position") >= 140), thinking.with_columns(channel=pl.lit("thinking"))]
    )
    versus = headline_of(tally(edit(frames, readings=readings), QUICK), "exam").versus_deployment
    assert versus.by_channel == {"response": 4, "thinking": 2}
    uniform = edit(frames, readings=readings.with_columns(policy=pl.lit("uniform_response(6)")))
    assert headline_of(tally(uniform, QUICK), "exam").versus_deployment.by_channel == {}


def truncated(frames: Frames, share: float, arm: str = "exam") -> Frames:
    """Every first so many positions of a suite run into the token cap."""
    last = 60 + 40 * (round(12 * share) - 1)
    cut = (pl.col("suite") == arm) & (pl.col("position") <= last)
    return edit(
        frames, readings=frames.readings.with_columns(stop=pl.when(cut).then(pl.lit("truncated")).otherwise("stop"))
    )


def test_a_transcript_with_too_few_judged_enters_no_rate_even_if_it_is_aware() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 20, 1, aware=0.5, density=1.0)], seed=1)
    whole = headline_of(tally(frames, QUICK), "exam").lane("measured").any_of_k
    half = frames.transcripts["transcript_digest"].gather_every(2).to_list()
    cut = pl.col("transcript_digest").is_in(half) & (pl.col("position") < 200)
    readings = frames.readings.with_columns(stop=pl.when(cut).then(pl.lit("truncated")).otherwise("stop"))
    lane = headline_of(tally(edit(frames, readings=readings), QUICK), "exam").lane("measured")
    rate = lane.any_of_k
    assert rate.aware + rate.not_aware == lane.admitted == 10
    assert rate.aware_incomplete + rate.indeterminate == 10
    assert rate.aware + rate.aware_incomplete == whole.aware
    assert rate.bounds.best == pytest.approx(whole.aware / 20)
    assert rate.bounds.worst == pytest.approx((whole.aware + rate.indeterminate) / 20)


def test_missing_by_chance_does_not_raise_the_rate() -> None:
    arm = Arm("exam", "evaluation", 400, 1, 0.0, false_positive=0.01, positions=50)
    whole = headline_of(tally(planted_frames([arm], seed=2), QUICK), "exam").lane("measured").any_of_k.rate
    thinned = Arm(**{**vars(arm), "truncated": 0.1})
    rate = headline_of(tally(planted_frames([thinned], seed=2), QUICK), "exam").lane("measured").any_of_k.rate
    assert rate.low < 1 - 0.99**48 < rate.high
    assert abs(rate.value - whole.value) < 0.08


def test_truncation_that_differs_between_arms_is_the_first_note() -> None:
    frames = planted_frames(arms((12, 12)))
    found = tally(edit(truncated(frames, 0.25), judgements=frames.judgements.head(10)), QUICK)
    assert found.notes[0].startswith("Truncation differs between the arms: 25.0% of the evaluation arm's")
    assert not any(
        "Truncation" in note for note in tally(truncated(truncated(frames, 0.25), 0.25, "chat"), QUICK).notes
    )


def lengths(long: int, short: int, chat: int) -> list[Arm]:
    return [
        Arm("long", "evaluation", 12, 1, 0.0, tokens=long),
        Arm("short", "evaluation", 12, 1, 0.0, tokens=short),
        Arm("chat", "deployment", 12, 1, 0.0, tokens=chat),
    ]


def test_balance_is_of_each_suite_not_of_their_mean() -> None:
    found = tally(planted_frames(lengths(2400, 400, 1400)), QUICK).arms
    assert not found.balanced
    assert [(i.suite, i.balanced) for i in found.imbalances if i.measure == "tokens"] == [
        ("long", False),
        ("short", False),
    ]


def test_a_suite_is_compared_with_the_deployment_arm_that_was_drawn_to_match_it() -> None:
    other = Arm("talk", "deployment", 12, 1, 1.0, density=1.0, tokens=2400)
    matched = MatchedArm(
        measures=(Measure.LENGTH,), seed=0, wanted=("long",), pool=("talk",), drawn=12, donors=12, balance=()
    )  # fmt: skip
    frames = edit(planted_frames([*lengths(2400, 1400, 1400), other]), matched=(matched,))
    found = tally(frames, QUICK)
    assert {s.suite: s.compared_with for s in found.suites if s.arm == "evaluation"} == {
        "long": ["talk"],
        "short": ["chat", "talk"],
    }
    versus = headline_of(found, "long").versus_deployment
    assert (versus.total, versus.rates) == ((12, 12), (0.0, 1.0))
    assert [i.balanced for i in found.arms.of("long") if i.measure == "tokens"] == [True]


@pytest.mark.parametrize(
    ("exam", "chat", "value"), [(1.0, 0.0, 1.0), (0.0, 1.0, -1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)]
)
def test_perfect_arms_have_bounds_and_not_a_reason(exam: float, chat: float, value: float) -> None:
    planted = [
        Arm("exam", "evaluation", 12, 1, exam, density=1.0),
        Arm("chat", "deployment", 12, 1, chat, density=1.0),
    ]
    versus = headline_of(tally(planted_frames(planted), QUICK), "exam").versus_deployment
    assert versus.fraction_difference.value == value
    assert versus.fraction_difference.has_interval
    assert versus.auroc.value == (1 + value) / 2
    assert versus.auroc.one_sided == (value != 0)
    assert suite_of(tally(planted_frames(planted), QUICK), "exam").under(QUICK.primary).lanes[0].fraction.one_sided
