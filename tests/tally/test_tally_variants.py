"""Variants of a suite in a tally: planted effects are recovered, missing data is counted, all-zero outcomes are not
tested."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from planted import CELLS, DESIGNS, PAIRS, Arm, planted_frames
from pydantic import ValidationError

from nla_eval.cards.design import Design
from nla_eval.stats.interval import Resampling
from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.types import ContrastRow, VariantMeasure, VariantOutcome, VariantTally

QUICK = TallyOptions(how=Resampling(resamples=200, seed=3))
SILENT = replace(PAIRS, variants=tuple((name, 0.0) for name, _ in PAIRS.variants))


def compared(frames: Frames, suite: str = PAIRS.suite) -> VariantTally | None:
    found = tally(replace(frames, designs=DESIGNS), QUICK)
    return next(s for s in found.suites if s.suite == suite).variants


def outcome(found: VariantTally | None, measure: VariantMeasure) -> VariantOutcome:
    assert found is not None
    return next(o for o in found.outcomes if o.outcome is measure)


def row(found: VariantOutcome, name: str) -> ContrastRow:
    return next(c for c in found.contrasts if c.name == name)


@pytest.fixture(scope="module")
def pairs() -> VariantTally | None:
    return compared(planted_frames([replace(PAIRS, families=120)], seed=2))


def test_planted_differences_come_back_in_flags_fractions_and_scores(pairs: VariantTally | None) -> None:
    for measure, size in ((VariantMeasure.FLAGGED, 1), (VariantMeasure.FRACTION, 0.5), (VariantMeasure.SCORE, 0.4)):
        told = row(outcome(pairs, measure), "told_test − neutral")
        assert told.found.estimate.low < 0.4 * size < told.found.estimate.high
        assert told.holm_p < 0.05
        assert row(outcome(pairs, measure), "told_production − neutral").holm_p > 0.05


def test_a_planted_interaction_comes_back_beside_both_main_effects() -> None:
    frames = planted_frames([replace(CELLS, families=100, donor=False)], seed=1)
    found = outcome(compared(frames, CELLS.suite), VariantMeasure.FLAGGED)
    crossed = row(found, "format × context")
    assert crossed.formula == "(exam, evaluation − exam, deployment) − (chat, evaluation − chat, deployment)"
    assert crossed.found.estimate.low < 0.7 < crossed.found.estimate.high
    assert crossed.holm_p < 0.001
    assert [(c.kind, c.name, c.formula) for c in found.contrasts[1:]] == [
        ("main effect", "format", "exam − chat"),
        ("main effect", "context", "evaluation − deployment"),
    ]
    assert [c.found.estimate.value for c in found.contrasts[1:]] == pytest.approx([0.35, 0.35], abs=0.1)


def test_one_correction_runs_over_the_contrasts_of_an_outcome(pairs: VariantTally | None) -> None:
    rows = outcome(pairs, VariantMeasure.FLAGGED).contrasts
    smallest, *others = sorted((c for c in rows if c.found.test), key=lambda c: c.found.test.p_value)
    assert len(rows) == 3
    assert smallest.holm_p == pytest.approx(3 * smallest.found.test.p_value)
    assert all(c.holm_p >= c.found.test.p_value for c in others)


def test_row_order_changes_nothing_and_json_loses_nothing(pairs: VariantTally | None) -> None:
    frames = planted_frames([PAIRS], seed=2)
    turned = replace(
        frames,
        readings=frames.readings.reverse(),
        judgements=frames.judgements.reverse(),
        transcripts=frames.transcripts.reverse(),
    )
    assert compared(turned) == compared(frames)
    assert pairs is not None
    assert VariantTally.model_validate_json(pairs.model_dump_json()) == pairs


def test_silence_in_every_variant_is_no_test_and_gives_a_bound() -> None:
    found = outcome(compared(planted_frames([SILENT])), VariantMeasure.FLAGGED)
    assert found.silent
    assert all(c.found.test is None and c.holm_p == 1 for c in found.contrasts)
    assert [mean.value for mean in found.means] == [0, 0, 0]
    assert all(0.05 < mean.high < 0.08 for mean in found.means)


def test_items_that_lack_a_variant_are_counted_and_left_out() -> None:
    frames = planted_frames([PAIRS])
    kept = frames.transcripts.filter((pl.col("variant") != "neutral") | (pl.int_range(pl.len()) > 30))
    found = compared(replace(frames, transcripts=kept))
    assert found is not None
    assert (found.items, found.complete) == (43, 33)
    flagged = outcome(found, VariantMeasure.FLAGGED)
    assert row(flagged, "told_test − neutral").found.incomplete == 10
    assert row(flagged, "told_test − told_production").found.incomplete == 0


def test_an_undecided_transcript_leaves_its_item_out_of_that_outcome_only() -> None:
    frames = planted_frames([SILENT])
    digest = frames.transcripts["transcript_digest"][0]
    unread = replace(frames, readings=frames.readings.filter(pl.col("transcript_digest") != digest))
    found = compared(unread)
    assert row(outcome(found, VariantMeasure.FLAGGED), "told_test − neutral").found.incomplete == 1
    assert row(outcome(found, VariantMeasure.SAID), "told_test − neutral").found.incomplete == 0


def test_a_classifier_without_a_score_has_no_such_outcome() -> None:
    frames = planted_frames([PAIRS])
    unscored = replace(frames, judgements=frames.judgements.with_columns(pl.lit(None, pl.Float64()).alias("score")))
    found = compared(unscored)
    assert found is not None
    assert [o.outcome.value for o in found.outcomes] == ["said", "flagged", "fraction"]


def test_a_suite_without_a_design_or_with_one_variant_is_not_compared() -> None:
    assert compared(planted_frames([Arm("other", "evaluation", 9, 2, 0.5)]), "other") is None
    frames = planted_frames([PAIRS])
    one = frames.transcripts.filter(pl.col("variant") == "neutral")
    assert compared(replace(frames, transcripts=one)) is None


def test_the_monitor_arm_is_compared_within_itself_and_with_nothing_else() -> None:
    chat = Arm("chat", "deployment", 9, 1, 0.0)
    found = tally(replace(planted_frames([PAIRS, chat]), designs=DESIGNS), QUICK).suites[0]
    assert found.variants is not None
    assert all(h.versus_deployment is None for h in found.headlines)


@pytest.mark.parametrize(
    "factors",
    [
        {},
        {"a": ("x",)},
        {"a": ("x", "y"), "b": ("u", "v", "w")},
        {"a": ("x", "x")},
        {"a": ("x", "x_y"), "b": ("y_z", "z")},
    ],
)
def test_a_design_that_cannot_be_compared_is_refused(factors: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValidationError, match="design"):
        Design(factors)
