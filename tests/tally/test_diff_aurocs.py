"""AUROCs of two runs: paired where the families are the same, and said to be not where they are others."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from planted import Arm, planted_frames, with_reader
from planted_control import BASE, ORGANISM, read_of

from nla_eval.stats.interval import Resampling
from nla_eval.store.rows import SCORE_SCHEMA
from nla_eval.tally.control import control_tally
from nla_eval.tally.diff import diff
from nla_eval.tally.diff_sides import Side
from nla_eval.tally.frames import Frames
from nla_eval.tally.headlines import Board
from nla_eval.tally.tally import TallyOptions, counted_in, tally_of
from nla_eval.tally.types_diff import Against, Change, Diff, MovedAuroc

OPTIONS = TallyOptions(how=Resampling(resamples=300))


def arms(aware: float, families: int = 40, chats: int = 40, positions: int = 12) -> list[Arm]:
    return [
        Arm("office", "evaluation", families, 1, aware, density=0.5, false_positive=0.05, positions=positions),
        Arm("chat", "deployment", chats, 1, 0.0, false_positive=0.05, positions=positions),
    ]


def side(frames: Frames, scores: pl.DataFrame | None = None) -> Side:
    of = counted_in(frames, OPTIONS)
    made = Side("run", tally_of(of, OPTIONS), Board.of(of.found, OPTIONS.primary, OPTIONS), {})
    return made if scores is None else replace(made, scores=scores)


@cache
def low(seed: int = 0) -> Side:
    return side(planted_frames(arms(0.2), seed=seed))


@cache
def high() -> Side:
    return side(planted_frames(arms(1.0), seed=1))


def compared(first: Side, second: Side) -> Diff:
    return diff([first, second], OPTIONS.how)


def only(found: Diff) -> MovedAuroc:
    (row,) = found.aurocs
    return row


def renamed(frames: Frames, suites: tuple[str, ...]) -> Frames:
    """The same run with other families in some suites."""
    other = pl.when(pl.col("suite").is_in(suites)).then(pl.lit("other-") + pl.col("family")).otherwise("family")
    return replace(frames, transcripts=frames.transcripts.with_columns(family=other))


def test_a_planted_rise_is_found_over_the_families_of_both_sides() -> None:
    row = only(compared(low(), high()))
    assert (row.suite, row.lane, row.against) == ("office", "measured", Against.ORDINARY)
    assert (row.paired, row.families, row.left_out, row.transcripts) == (True, (40, 40), (0, 0), (80, 80))
    assert row.change is Change.UP
    assert row.difference.low is not None
    assert row.difference.low > 0
    assert row.holm_p is not None
    assert row.p is not None
    assert row.p <= row.holm_p < 0.05
    assert row.difference.value == pytest.approx((row.after.value or 0) - (row.before.value or 0))


def test_each_run_has_the_auroc_of_its_own_tally_if_all_families_are_shared_and_k_is_the_same() -> None:
    row = only(compared(low(), high()))
    for run, estimate in ((low(), row.before), (high(), row.after)):
        versus = run.tally.suites[0].under(OPTIONS.primary).versus_deployment
        assert versus is not None
        assert (estimate.value, row.k) == (pytest.approx(versus.auroc.value), versus.k)


def test_holm_s_correction_counts_rates_and_aurocs_together() -> None:
    found = compared(low(), high())
    tested = sorted(row.p for row in (*found.moved, *found.aurocs) if row.p is not None)
    assert only(found).p in tested
    smallest = min((row for row in (*found.moved, *found.aurocs) if row.p is not None), key=lambda row: row.p or 0)
    assert smallest.holm_p == pytest.approx(min(1.0, len(tested) * tested[0]))


def test_two_draws_of_one_world_do_not_differ_and_neither_does_a_run_from_itself() -> None:
    again = only(compared(low(), low(seed=5)))
    assert again.change in (Change.NONE, Change.UNSURE)
    same = only(compared(low(), low()))
    assert (same.difference.value, same.p, same.change) == (0.0, None, Change.OPEN)
    assert "no variation" in str(same.difference.withheld)


@pytest.mark.parametrize(
    ("suites", "told"),
    [
        (("office",), "0 of 40 families of office and 40 of 40 families of ordinary chats"),
        (("chat",), "40 of 40 families of office and 0 of 40 families of ordinary chats"),
        (("office", "chat"), "0 of 40 families of office and 0 of 40 families of ordinary chats"),
    ],
)
def test_families_that_do_not_match_have_no_interval_and_the_row_says_why(suites: tuple[str, ...], told: str) -> None:
    row = only(compared(low(), side(renamed(planted_frames(arms(1.0), seed=1), suites))))
    assert (row.paired, row.p, row.change) == (False, None, Change.OPEN)
    assert told in str(row.difference.withheld)
    assert row.difference.value is not None, "the bare difference stands"
    assert (row.difference.low, row.difference.high) == (None, None)
    assert row.before.has_interval
    assert row.after.has_interval


def test_families_of_one_run_alone_are_left_out_and_counted() -> None:
    row = only(compared(low(), side(planted_frames(arms(1.0, families=50, chats=60), seed=1))))
    assert (row.paired, row.families, row.left_out, row.transcripts) == (True, (40, 40), (10, 20), (80, 80))


def test_both_runs_are_brought_to_one_k() -> None:
    assert only(compared(low(), side(planted_frames(arms(1.0, positions=6), seed=1)))).k == 6


def test_a_run_without_ordinary_chats_is_named() -> None:
    row = only(compared(low(), side(planted_frames(arms(1.0)[:1]))))
    assert row.before.has_interval
    assert "B cannot set office against ordinary chats" in str(row.difference.withheld)
    neither = compared(*(side(planted_frames(arms(aware)[:1])) for aware in (0.2, 1.0)))
    assert (neither.aurocs, bool(neither.aurocs_missing)) == ([], True)
    assert not compared(low(), high()).aurocs_missing


def test_a_reader_of_the_text_stands_beside_n() -> None:
    runs = [
        side(with_reader(planted_frames(arms(a), seed=3), lambda row, _: row["arm"] == "evaluation"))
        for a in (0.2, 1.0)
    ]
    found = {row.lane: row for row in compared(*runs).aurocs}
    assert {*found} == {"measured", "text_only"}
    assert (found["text_only"].before.value, found["text_only"].difference.value) == (1.0, 0.0)
    assert found["text_only"].difference.has_interval, "both are perfect: an exact bound"


@pytest.mark.parametrize(("other", "readers"), [("probe@1", 1), ("probe@2", 1)])
def test_scores_of_a_probe_are_matched_by_reader_or_as_the_one_of_each_run(other: str, readers: int) -> None:
    frames = planted_frames(arms(0.2))
    runs = []
    for name, shift in (("probe@1", 0.0), (other, 3.0)):
        rows = frames.transcripts.select("transcript_digest", "arm").with_row_index("n")
        score = (pl.col("n") % 7) / 7 + shift * (pl.col("arm") == "evaluation")
        scores = rows.select(
            "transcript_digest", score=score, position=pl.lit(3), lane=pl.lit("probe"), reader=pl.lit(name)
        )
        runs.append(side(frames, pl.concat([pl.DataFrame(schema=SCORE_SCHEMA), scores], how="diagonal_relaxed")))
    found = [row for row in compared(*runs).aurocs if row.lane == "probe"]
    assert [row.readers for row in found] == [("probe@1", other)] * readers
    assert found[0].change is Change.UP


def test_told_against_untold_is_the_control_s_auroc_in_both_runs() -> None:
    runs = []
    controls = [read_of(target, shift, seed=seed) for target, shift, seed in ((BASE, 0.2, 1), (ORGANISM, 1.5, 2))]
    plain = planted_frames([Arm("positive_control", "monitor", 40, 2, 0.0, variants=(("cue", 0.0), ("no_cue", 0.0)))])
    for control in controls:
        rows = plain.transcripts.with_columns(
            family=pl.col("family").str.extract(r"(\d+)$").cast(pl.Int64).cast(pl.String)
        )
        names = rows.with_columns(own=pl.col("family") + "-" + pl.col("variant")).select("transcript_digest", "own")
        scores = control.scores.rename({"transcript_digest": "own"}).join(names, on="own").drop("own")
        runs.append(side(replace(plain, transcripts=rows), scores))
    row = only(compared(*runs))
    assert (row.lane, row.against, row.families, row.paired) == ("setting", Against.NO_CUE, (40, 40), True)
    assert row.change is Change.UP
    card = {"setting": {"reader": controls[0].scores["reader"][0], "threshold": 0.5}}
    for control, found in zip(controls, (row.before, row.after), strict=True):
        own = control_tally([control], card, OPTIONS.how).rows[0].auroc
        assert (found.value, found.n) == (pytest.approx(own.value), own.n)


def test_it_comes_back_from_its_json_and_does_not_depend_on_row_order() -> None:
    found = compared(low(), high())
    assert Diff.model_validate_json(found.model_dump_json()) == found
    frames = planted_frames(arms(1.0), seed=1)
    mixed = replace(frames, readings=frames.readings.sample(fraction=1, shuffle=True, seed=1))
    assert compared(low(), side(mixed)) == found
    turned = replace(frames, transcripts=frames.transcripts.sample(fraction=1, shuffle=True, seed=2))
    assert compared(low(), side(turned)).aurocs == found.aurocs
