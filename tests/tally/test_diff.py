"""Runs compared: shared transcripts one by one, others as independent samples; and how the runs were made."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.errors import InputError
from nla_eval.judgement import Headline
from nla_eval.stats.interval import Resampling
from nla_eval.stats.paired import paired_difference
from nla_eval.tally.diff import diff
from nla_eval.tally.diff_sides import Side
from nla_eval.tally.frames import Frames
from nla_eval.tally.headlines import Board
from nla_eval.tally.tally import TallyOptions, counted_in, tally_of
from nla_eval.tally.types_diff import Change, Diff, Measure, Moved

OPTIONS = TallyOptions(how=Resampling(resamples=200))
LOW = [Arm("office", "evaluation", 20, 1, 0.1, donor=True), Arm("chat", "deployment", 20, 1, 0.0)]
HIGH = [Arm("office", "evaluation", 20, 1, 1.0, density=0.5, donor=True), Arm("chat", "deployment", 20, 1, 0.0)]


def side(frames: Frames, headline: Headline = Headline.PAPER) -> Side:
    options = replace(OPTIONS, primary=headline)
    of = counted_in(frames, options)
    return Side("run", tally_of(of, options), Board.of(of.found, headline, options), {})


@cache
def low() -> Side:
    return side(planted_frames(LOW))


@cache
def high() -> Side:
    return side(planted_frames(HIGH))


def compared(first: Side, second: Side) -> Diff:
    return diff([first, second], OPTIONS.how)


def row(found: Diff, measure: Measure, suite: str = "office") -> Moved:
    return next(r for r in found.moved if (r.suite, r.measure) == (suite, measure))


def renamed(frames: Frames, **columns: pl.Expr) -> Frames:
    """The same run with other digests or ids of its transcripts."""
    return replace(
        frames,
        **{
            name: getattr(frames, name).with_columns(
                **{c: e for c, e in columns.items() if c in getattr(frames, name).columns}
            )
            for name in ("readings", "judgements", "turns", "transcripts")
        },
    )


OTHER_WORDS = {"transcript_digest": pl.lit("x") + pl.col("transcript_digest").str.slice(1)}
OTHERS = OTHER_WORDS | {"transcript_id": pl.lit("other-") + pl.col("transcript_id")}


def test_a_planted_rise_is_found_and_what_did_not_change_is_not() -> None:
    found = compared(low(), high())
    for measure in (Measure.PLACES, Measure.ANY_OF_K, Measure.UNVERBALIZED):
        moved = row(found, measure)
        assert (moved.change, moved.paired, moved.transcripts) == (Change.UP, True, (20, 20)), measure
        assert moved.difference.low is not None
        assert moved.difference.low > 0
        assert moved.holm_p is not None
        assert moved.p is not None
        assert moved.p <= moved.holm_p < 0.05
    for measure in (Measure.SAID, Measure.DONOR, Measure.JUDGED):
        assert row(found, measure).change is Change.NONE, measure
    assert all(r.change is Change.NONE for r in found.moved if r.suite == "chat")


def test_a_run_does_not_differ_from_itself() -> None:
    found = compared(high(), high())
    assert {r.difference.value for r in found.moved} == {0.0}
    assert {r.change for r in found.moved} == {Change.NONE}
    assert {r.p for r in found.moved} == {None}


def test_swapping_the_runs_swaps_the_signs() -> None:
    there, back = compared(low(), high()), compared(high(), low())
    for one, other in zip(there.moved, back.moved, strict=True):
        assert one.difference.value == pytest.approx(-(other.difference.value or 0.0))
        assert one.p == other.p


def test_a_paired_difference_is_the_estimator_s_over_the_shared_transcripts() -> None:
    first, second = planted_frames(LOW), planted_frames(HIGH)
    rates = [
        dict(
            frames.judgements.filter(pl.col("lane") == "measured")
            .group_by("transcript_digest")
            .agg((pl.col("outcome") == "AWARE").mean())
            .iter_rows()
        )
        for frames in (first, second)
    ]
    own = first.transcripts.filter(pl.col("suite") == "office").sort("transcript_id")
    digests, families = own["transcript_digest"].to_list(), own["family"].to_list()
    expected = paired_difference(
        [rates[1][d] for d in digests], [rates[0][d] for d in digests], [("office", f) for f in families], OPTIONS.how
    )
    found = row(compared(low(), high()), Measure.PLACES).difference
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


@pytest.mark.parametrize(
    ("columns", "content", "ids", "paired"),
    [({}, 20, 0, True), (OTHER_WORDS, 0, 20, True), (OTHERS, 0, 0, False)],
    ids=["the same content", "the same prompts with other words", "other transcripts"],
)
def test_transcripts_are_paired_by_content_then_by_id_and_family(
    columns: dict[str, pl.Expr], content: int, ids: int, paired: bool
) -> None:
    found = compared(low(), side(renamed(planted_frames(HIGH), **columns)))
    pairing = next(p for p in found.pairings if p.suite == "office")
    assert (pairing.by_content, pairing.by_id, pairing.paired, pairing.total) == (content, ids, paired, (20, 20))
    assert row(found, Measure.PLACES).paired is paired
    assert row(found, Measure.PLACES).change is Change.UP
    assert any("independent samples" in note for note in found.notes) is not paired
    assert any("what each target wrote" in note for note in found.notes) is (ids > 0)


def test_any_of_k_is_compared_at_a_k_that_both_runs_supply() -> None:
    short = [replace(arm, positions=6) for arm in HIGH]
    found = row(compared(high(), side(planted_frames(short))), Measure.ANY_OF_K)
    assert found.k == 6


def test_a_suite_in_one_run_is_listed_and_a_run_without_a_common_suite_is_refused() -> None:
    alone = Arm("exam", "evaluation", 8, 1, 0.5)
    found = compared(low(), side(planted_frames([*HIGH, alone])))
    assert found.alone == {"exam (evaluation)": ["B"]}
    assert "exam" not in {r.suite for r in found.moved}
    with pytest.raises(InputError, match="share no suite"):
        compared(low(), side(planted_frames([alone])))


def test_runs_under_other_rubrics_or_headlines_are_refused_in_one_line() -> None:
    second = planted_frames(HIGH)
    other = renamed(second, rubric=pl.lit("strict@ffffffffffffffff"))
    with pytest.raises(InputError, match=r"several rubrics.*--classifier") as caught:
        compared(low(), side(other))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="several headlines"):
        diff([low(), side(second, headline=Headline.BROAD)])
    with pytest.raises(InputError, match="expected 2 to 6"):
        diff([low()])


def test_facts_that_differ_come_apart_from_those_that_do_not_and_a_second_pack_is_a_limit() -> None:
    first = replace(low(), facts={"target": "a", "pack": "p@1", "preset": "strict"})
    second = replace(low(), facts={"target": "b", "pack": "p@2", "preset": "strict", "x": "1"})
    found = compared(first, second)
    assert [(f.name, f.values) for f in found.differs] == [
        ("target", ["a", "b"]),
        ("pack", ["p@1", "p@2"]),
        ("x", ["not recorded", "1"]),
    ]
    assert [f.name for f in found.alike] == ["preset"]
    assert any("relative to its pack" in note for note in found.notes)
    assert any(note.startswith("The target and the pack differ at once") for note in found.notes)


def test_it_comes_back_from_its_json_and_does_not_depend_on_row_order() -> None:
    found = compared(low(), high())
    assert Diff.model_validate_json(found.model_dump_json()) == found
    frames = planted_frames(HIGH)
    mixed = replace(frames, readings=frames.readings.sample(fraction=1, shuffle=True, seed=1))
    assert compared(low(), side(mixed)) == found
