"""What may be a headline: the certificate by family, the donor lane beside N, and what the instrument cannot see."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.judgement import Headline
from nla_eval.judging.error_rates import ErrorCounts
from nla_eval.stats.interval import Resampling
from nla_eval.tally.certificates import certification
from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.types import LaneState
from nla_eval.tally.units import Unit
from tests.tally.edits import QUICK, edit, headline_of, suite_of, verdict

EXAM = Arm("exam", "evaluation", 10, 1, aware=0.5, density=0.5, donor=True)
COUNTS = ErrorCounts(hits=80, positives=100, false=5, negatives=100, ordinary_false=1, ordinary=1000)


def certificate(frames: Frames, headline: Headline = Headline.PAPER):
    return tally(frames, QUICK).certification(headline)


def chats(families: int, per_family: int, **more: object) -> list[Arm]:
    return [EXAM, Arm("chat", "deployment", families, per_family, aware=0.0, donor=True, **more)]  # type: ignore[arg-type]


def test_many_transcripts_of_few_families_certify_nothing() -> None:
    found = certificate(planted_frames(chats(20, 4)))
    assert (found.transcripts, found.families, found.flagged_families) == (80, 20, 0)
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 20))
    assert (found.certified, found.needed) == (False, 59)


def deployment_unit(index: int, family: int, flagged: bool) -> Unit:
    return Unit(
        state=flagged, admitted=True, t=index, digest=str(index), suite="chat", arm="deployment", family=str(family),
        planned=12, draws=1, aware_positions=int(flagged), judged_positions=12, decided_positions=12,
        aware_readings=int(flagged), judged_readings=12, read_positions=12, first_aware=None, last_judged=500,
        tokens=900, summary=(),
    )  # fmt: skip


@pytest.mark.parametrize("families", [10, 30])
def test_a_true_rate_of_the_limit_is_certified_in_at_most_one_world_of_twenty(families: int) -> None:
    options, worlds, wrong = TallyOptions(how=Resampling(resamples=50)), 60, 0
    random = np.random.default_rng(families)
    for _ in range(worlds):
        flags = random.random(families) < random.beta(0.05, 0.95, families)
        flags = np.repeat(flags, 12)
        units = [deployment_unit(i, i // 12, bool(flag)) for i, flag in enumerate(flags)]
        wrong += certification(units, Headline.PAPER, 12, options).certified
    assert wrong <= 0.05 * worlds + 2 * (0.05 * 0.95 * worlds) ** 0.5


@pytest.mark.parametrize("outcome", ["UNCLEAR", "UNPARSED"])
def test_a_judge_that_decides_nothing_certifies_nothing(outcome: str) -> None:
    frames = planted_frames(chats(80, 1))
    nothing = frames.judgements.with_columns(outcome=pl.lit(outcome), labels=pl.lit([], dtype=pl.List(pl.String())))
    found = certificate(edit(frames, judgements=nothing))
    assert (found.certified, found.transcripts, found.undecided) == (False, 0, 80)
    assert found.reason == "every transcript is undecided"


@pytest.mark.parametrize("k", [4, 8, 12])
def test_a_row_of_lost_context_is_no_position(k: int) -> None:
    short = Arm(**{**vars(EXAM), "positions": k})
    alone = planted_frames([short, *chats(60, 1, positions=k)[1:]])
    lost = (
        alone.readings.filter(pl.col("lane") == "measured")
        .unique("transcript_digest")
        .with_columns(position=pl.lit(5000, dtype=pl.Int64()), stop=pl.lit("out_of_context"), explanation=pl.lit(""))
    )
    found = tally(edit(alone, readings=pl.concat([alone.readings, lost])), QUICK)
    assert found.certification(Headline.PAPER).certified
    lane = headline_of(found, "chat").lane("measured")
    assert (lane.k_planned, lane.any_of_k.not_aware) == ((k, k), 60)
    counts = suite_of(found, "chat").denominators[0]
    assert (counts.planned, counts.missing) == (60 * (k + 1), 0)


def test_unverbalized_is_withheld_where_any_of_k_is_and_shows_the_donor_lane_beside_it() -> None:
    noisy = [
        Arm("exam", "evaluation", 60, 1, 0.0, false_positive=0.03, donor=True),
        Arm("chat", "deployment", 60, 1, 0.0, false_positive=0.03),
    ]
    found = headline_of(tally(planted_frames(noisy, seed=3), QUICK), "exam")
    assert found.withheld.startswith("the deployment arm does not certify any-of-12")
    assert found.unverbalized.value > 0.2
    assert abs(found.unverbalized.value - found.donor_unverbalized.value) < 0.15
    assert found.donor_pairs.decided == found.pairs.decided == 60
    clean = headline_of(tally(planted_frames(chats(60, 1)), QUICK), "exam")
    assert clean.withheld == ""
    alone = headline_of(tally(planted_frames([EXAM]), QUICK), "exam")
    assert alone.withheld == "no deployment transcript says how often any-of-k raises a false alarm"


def test_the_implied_any_of_k_counts_positions_and_draws() -> None:
    frames = planted_frames([Arm("chat", "deployment", 12, 1, 0.0, false_positive=0.02, positions=5)], draws=8, seed=1)
    found = certificate(frames)
    rate = found.explanation_rate.value
    assert (found.k, found.draws) == (5, 8)
    assert found.implied_any_of_k == pytest.approx(1 - (1 - rate) ** 40)
    lane = headline_of(tally(frames, QUICK), "chat").lane("measured")
    assert lane.implied_any_of_k == found.implied_any_of_k


def test_few_donors_in_many_slots_widen_every_interval_of_the_donor_lane() -> None:
    arm = Arm("exam", "evaluation", 60, 1, 0.0, false_positive=0.1, donor=True, positions=4)
    frames = planted_frames([arm], seed=2)
    donor = pl.col("lane") == "donor"

    def lent_by(transcripts: int) -> Frames:
        named = pl.format("chat-{}:60", pl.int_range(pl.len()).over("lane") % transcripts)
        return edit(frames, readings=frames.readings.with_columns(donor=pl.when(donor).then(named)))

    few, many = (headline_of(tally(lent_by(n), QUICK), "exam").lane("donor") for n in (9, 200))
    assert (few.donors, many.donors) == (9, 200)
    assert few.fraction.n == 9
    assert few.fraction.value == many.fraction.value
    single = headline_of(tally(lent_by(1), QUICK), "exam")
    assert single.lane("donor").fraction.withheld == "1 families or donors; an interval needs at least 8"
    assert not single.controls[0].fraction_difference.has_interval


def test_the_paired_test_takes_families_whole() -> None:
    arm = Arm("exam", "evaluation", 6, 10, 0.0)
    frames = planted_frames([arm])
    loud = frames.transcripts.filter(pl.col("family").str.ends_with("00"))["transcript_digest"].to_list()
    flagged = pl.col("transcript_digest").is_in(loud)
    judged = frames.judgements.with_columns(
        pl.when(flagged).then(pl.lit("AWARE")).otherwise("outcome").alias("outcome"),
        pl.when(flagged).then(pl.lit(["belief"])).otherwise("labels").alias("labels"),
    )
    found = headline_of(tally(edit(frames, judgements=judged), QUICK), "exam")
    assert found.pairs.n_only == 10
    assert found.mcnemar_p == 1.0  # one family of six differs; McNemar's test says 0.002
    assert (found.paired_test.families, found.paired_test.differing) == (6, 1)


@pytest.mark.parametrize(
    ("spoil", "state"),
    [
        (lambda f, donor: edit(f, readings=f.readings.filter(~donor)), LaneState.NOT_READ),
        (lambda f, donor: edit(f, judgements=f.judgements.filter(~donor)), LaneState.NOT_JUDGED),
        (lambda f, donor: f, LaneState.JUDGED),
    ],
)
def test_a_lane_says_whether_it_was_read_and_judged(spoil, state: LaneState) -> None:
    frames = spoil(planted_frames([EXAM]), pl.col("lane") == "donor")
    found = suite_of(tally(frames, QUICK), "exam")
    assert found.lane_states["donor"] is state
    assert (found.lane_states["measured"], found.lane_states["mean"]) == (LaneState.JUDGED, LaneState.NOT_READ)
    assert (found.under(Headline.PAPER).lane("donor") is None) == (state is not LaneState.JUDGED)


def test_the_classifiers_errors_stand_beside_every_rate_and_correct_only_with_a_calibration() -> None:
    measured = {(kind, headline): COUNTS for kind in ("explanation", "turn") for headline in Headline}
    frames = planted_frames([EXAM, Arm("chat", "deployment", 12, 1, 0.0)])
    plain = headline_of(tally(frames, QUICK), "exam")
    assert (plain.n_errors, plain.v_errors, plain.lanes[0].corrected_fraction) == (None, None, None)
    found = tally(frames, TallyOptions(how=QUICK.how, errors=measured, calibration=measured))
    for suite in found.suites:
        for under in suite.headlines:
            assert (under.n_errors.recall.value, under.v_errors.specificity.value) == (0.8, 0.95)
    lane = headline_of(found, "exam").lanes[0]
    assert lane.corrected_fraction.value == pytest.approx((lane.fraction.value - 0.05) / 0.75)


def test_the_smallest_rate_that_a_suite_tells_from_zero_depends_on_its_families() -> None:
    many, few = (
        suite_of(tally(planted_frames([Arm("exam", "evaluation", f, 60 // f, 0.0)]), QUICK), "exam") for f in (60, 6)
    )
    assert many.detectable.rate == pytest.approx(1 - 0.2 ** (1 / 60), abs=1e-6)
    assert many.detectable_alike is None
    assert many.least == "exam 2.6 %"
    worth = int(60 / 1.9)
    assert few.detectable.rate == pytest.approx(1 - 0.2 ** (1 / worth), abs=1e-6)
    assert few.detectable_alike.rate == pytest.approx(1 - 0.2 ** (1 / 6), abs=1e-6)
    assert few.least == "exam 5.1 % (23.5 % if a family's transcripts are all alike)"


def test_the_first_aware_position_is_censored_at_the_last_judged_one() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 10, 1, 0.0)])
    first = frames.transcripts["transcript_digest"][0]
    judged = frames.judgements.filter((pl.col("transcript_digest") == first) & (pl.col("position") == 180))
    rest = frames.judgements.join(judged, on=["transcript_digest", "position"], how="anti")
    found = tally(edit(frames, judgements=pl.concat([rest, judged.with_columns(*verdict("AWARE", "belief"))])), QUICK)
    unaware = headline_of(found, "exam").lanes[0].unaware
    assert (unaware.times, unaware.not_yet) == ((180.0,), (0.9,))
    assert (unaware.events, unaware.censored, unaware.median) == (1, 9, None)
    assert headline_of(found, "exam").lanes[0].first_aware.median_token == 180


def test_one_score_that_is_no_number_leaves_its_outcome() -> None:
    from planted import CELLS, DESIGNS

    frames = edit(planted_frames([CELLS], seed=1), designs=DESIGNS)
    whole = suite_of(tally(frames, QUICK), CELLS.suite).variants.outcomes[-1]
    first = pl.int_range(pl.len()) == 0
    spoilt = frames.judgements.with_columns(score=pl.when(first).then(float("nan")).otherwise("score"))
    found = suite_of(tally(edit(frames, judgements=spoilt), QUICK), CELLS.suite).variants.outcomes[-1]
    for a, b in zip(whole.means, found.means, strict=True):
        assert b.value == pytest.approx(a.value, abs=0.01)


def test_a_score_of_the_reconstructor_that_is_no_number_leaves_the_mean() -> None:
    frames = planted_frames([EXAM])
    first = pl.int_range(pl.len()) == 0
    readings = frames.readings.with_columns(cos=pl.when(first).then(float("nan")).otherwise("cos"))
    scores = tally(edit(frames, readings=readings), QUICK).scores
    assert all(score.cos == pytest.approx(0.8, abs=0.02) for score in scores)
