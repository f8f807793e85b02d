"""A judgement attaches to the text it judged, whatever the row order; two verdicts on one text are refused by name."""

from __future__ import annotations

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.errors import InputError
from nla_eval.judgement import Outcome
from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import tally
from tests.tally.edits import QUICK, edit, hashed, hashes, headline_of, shuffled, suite_of, verdict

FRAMES = hashed(planted_frames([Arm("only", "evaluation", 4, 2, aware=0.0, positions=4)]))
ORDERS = [lambda f: f, shuffled]
PLACE = ["transcript_digest", "position", "lane", "draw"]


def outcomes(found, suite: str = "only") -> dict[Outcome, int]:
    return suite_of(found, suite).denominators[0].counts


@pytest.mark.parametrize("order", ORDERS)
def test_a_judgement_of_another_text_under_the_same_key_does_not_attach(order) -> None:
    other = FRAMES.judgements.with_columns(*verdict("AWARE", "belief"), text_hash=pl.lit("0" * 16))
    both = edit(FRAMES, judgements=pl.concat([other, FRAMES.judgements]))
    found = tally(order(both), QUICK)
    assert outcomes(found)[Outcome.AWARE] == 0
    assert outcomes(found)[Outcome.NOT_AWARE] == 32
    alone = tally(order(edit(FRAMES, judgements=other)), QUICK)
    assert outcomes(alone)[Outcome.ERROR] == 32
    assert "have one of another text, which does not attach" in alone.notes[0]


@pytest.mark.parametrize("order", ORDERS)
def test_a_failed_run_and_its_retry_give_the_retry(order) -> None:
    failed = FRAMES.readings.with_columns(explanation=pl.lit(""), stop=pl.lit("error"), error=pl.lit("out of memory"))
    judged = FRAMES.judgements.with_columns(
        *verdict("ERROR", "none"), text_hash=hashes(pl.Series([""] * FRAMES.judgements.height))
    )
    both = edit(
        FRAMES,
        readings=pl.concat([failed, FRAMES.readings]),
        judgements=pl.concat([judged, FRAMES.judgements]),
    )
    assert tally(order(both), QUICK).suites == tally(FRAMES, QUICK).suites


def one_more(frames: Frames, **changes: pl.Expr) -> Frames:
    """The frames with the first reading's judgement a second time, changed."""
    again = frames.judgements.head(1).with_columns(**changes)
    return edit(frames, judgements=pl.concat([frames.judgements, again]))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("again", "named"),
    [
        ({"outcome": pl.lit("AWARE"), "labels": pl.lit(["belief"])}, r"AWARE \(belief\) and NOT_AWARE \(none\)"),
        ({"outcome": pl.lit("UNCLEAR"), "labels": pl.lit([], dtype=pl.List(pl.String()))}, r"and UNCLEAR"),
        ({"labels": pl.lit(["human_exam"])}, r"NOT_AWARE \(human_exam\) and NOT_AWARE \(none\)"),
    ],
)
def test_two_verdicts_of_one_judge_on_one_text_are_refused_by_name(order, again, named: str) -> None:
    first = FRAMES.transcripts["transcript_id"][0]
    with pytest.raises(InputError, match=f"planted@1: transcript '{first}', lane measured, .*{named}.*; leave one"):
        tally(order(one_more(FRAMES, **again)), QUICK)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("again", [{}, {"outcome": pl.lit("ERROR")}, {"outcome": pl.lit("UNPARSED")}])
def test_a_verdict_said_twice_or_after_a_failed_call_counts_once(order, again) -> None:
    assert tally(order(one_more(FRAMES, **again)), QUICK).suites == tally(FRAMES, QUICK).suites


@pytest.mark.parametrize("order", ORDERS)
def test_conflicting_turns_are_refused_and_a_judgement_of_another_turn_text_does_not_attach(order) -> None:
    again = FRAMES.turns.head(1).with_columns(*verdict("AWARE", "belief"))
    with pytest.raises(InputError, match=r"message 2 \(text\) of transcript \w{12} is AWARE \(belief\) and NOT_AWARE"):
        tally(order(edit(FRAMES, turns=pl.concat([FRAMES.turns, again]))), QUICK)
    moved = FRAMES.turns.with_columns(*verdict("AWARE", "belief"), text_hash=pl.lit("0" * 16))
    said = headline_of(tally(order(edit(FRAMES, turns=moved)), QUICK), "only").verbalized
    assert (said.aware, said.not_aware, said.indeterminate) == (0, 0, 8)


def test_judgements_that_name_no_text_attach_by_their_key_as_before() -> None:
    plain = edit(FRAMES, judgements=FRAMES.judgements.drop("text_hash"), turns=FRAMES.turns.drop("text_hash"))
    nothing = edit(FRAMES, judgements=FRAMES.judgements.with_columns(text_hash=pl.lit(None, dtype=pl.String())))
    assert tally(plain, QUICK) == tally(nothing, QUICK) == tally(FRAMES, QUICK)
