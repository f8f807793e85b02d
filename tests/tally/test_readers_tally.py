"""What stands beside N in a tally: the gain over every other reader, shuffles, and told recall, on planted frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from planted import Arm, planted_frames, with_reader

from nla_eval.judgement import Headline
from nla_eval.readings import Lane, Score
from nla_eval.stats.interval import Resampling
from nla_eval.store.rows import SCORE_SCHEMA
from nla_eval.tally.frames import Frames
from nla_eval.tally.readers import Beside, readers_tally, told_recall
from nla_eval.tally.tally import TallyOptions
from nla_eval.tally.types_readers import ReadersTally

ARMS = [
    Arm("office", "evaluation", 12, 2, aware=0.6, density=0.5),
    Arm("chat", "deployment", 12, 2, aware=0.0),
]
FRAMES = planted_frames(ARMS, seed=1)
HOW = Resampling(resamples=200, seed=3)
DEFINITIONS = TallyOptions().definitions
NO_SCORES = pl.DataFrame(schema=SCORE_SCHEMA)


def tallied(frames: Frames, scores: pl.DataFrame = NO_SCORES, card: dict[str, Any] | None = None) -> ReadersTally:
    return readers_tally(frames, DEFINITIONS, Headline.BELIEF, Beside(scores, card, how=HOW))


@pytest.mark.parametrize(
    ("says", "sign", "words"),
    [
        (lambda row, own: own, 0, "zero gain over text_only (planted-reader): AUROC difference 0.00"),
        (lambda row, own: False, 1, "privileged gain over text_only (planted-reader): AUROC difference +0."),
        (lambda row, own: row["arm"] == "evaluation", -1, "N is worse than text_only (planted-reader)"),
    ],
    ids=["echoes N", "silent", "knows better"],
)
def test_the_gain_is_over_a_named_reader_and_zero_is_said_to_be_zero(
    says: Callable[[dict[str, Any], bool], bool], sign: int, words: str
) -> None:
    (found,) = tallied(with_reader(FRAMES, says)).gains
    assert (found.suite, found.lane, found.reader) == ("office", Lane.TEXT_ONLY, "planted-reader")
    assert found.gain.sign == sign
    assert words in found.sentence
    assert (found.gain.positives, found.gain.negatives) == (24, 24)


def test_both_discordant_rates_are_counted_over_transcripts_and_over_positions() -> None:
    frames = with_reader(FRAMES, lambda row, own: own and row["position"] > 200)
    (found,) = tallied(frames).gains
    assert found.positions is not None
    assert found.transcripts is not None
    early = FRAMES.judgements.filter((pl.col("outcome") == "AWARE") & (pl.col("position") <= 200))
    assert found.positions.transcripts == 24 * 12
    assert found.positions.only_own.value == pytest.approx(early.height / (24 * 12))
    assert found.positions.only_other.value == 0.0
    assert found.transcripts.only_other.value == 0.0


def test_lanes_of_scores_are_readers_too_and_have_no_verdicts() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Score(transcript_digest=digest, position=9, lane=Lane.ASKED, reader="asked@1",
              score=float(rng.normal(arm == "evaluation", 0.1))).model_dump(mode="json")
        for digest, arm in FRAMES.transcripts.select("transcript_digest", "arm").iter_rows()
    ]  # fmt: skip
    (found,) = tallied(FRAMES, pl.DataFrame(rows, schema=SCORE_SCHEMA)).gains
    assert found.lane is Lane.ASKED
    assert found.gain.other_auroc.value == 1.0
    assert found.gain.sign == -1
    assert (found.transcripts, found.positions) == (None, None)


def test_shuffled_is_a_permutation_test_and_the_ar_s_own_score() -> None:
    (found,) = tallied(FRAMES).shuffled
    assert found.arms is not None
    assert found.arms.p_value < 0.01
    assert found.matched_minus_shuffled.value == pytest.approx(0.12, abs=0.02)
    null = planted_frames([Arm("office", "evaluation", 12, 2, aware=0.0), ARMS[1]], seed=2)
    (nothing,) = tallied(null).shuffled
    assert nothing.arms is not None
    assert nothing.arms.p_value == 1.0


def test_what_the_report_does_not_count_is_not_counted_here() -> None:
    """A judgement of another text, a transcript the pack was trained on, and one of which too little was judged."""
    whole = with_reader(FRAMES, lambda row, own: own)
    first, second, third = whole.transcripts.filter(pl.col("arm") == "evaluation")["transcript_digest"].sort()[:3]
    digest = pl.col("transcript_digest")
    marked = whole.transcripts.with_columns(trained_on=pl.when(digest == first).then(pl.lit("texts.parquet")))
    other = whole.judgements.with_columns(text_hash=pl.when(digest == second).then(pl.lit("of another text")))
    late = (digest == third) & (pl.col("position") > 100)
    few = other.filter(~late)
    found = tallied(replace(whole, transcripts=marked, judgements=few))
    (gain,) = found.gains
    assert (gain.gain.positives, gain.gain.negatives) == (21, 24)
    assert found.notes == ["1 transcripts are left out (1 of office): the pack was trained on them."]


RATES = {
    side: {"value": value, "interval": [value - 0.1, value + 0.1], "n": 120}
    for side, value in {"recall": 0.3, "untold": 0.1, "difference": 0.2}.items()
}
CARD = {
    "pack": "planted@1",
    "told_judged": {
        "classifier": "planted@1",
        "rubric": "strict@0123456789abcdef",
        "headlines": {h.value: RATES for h in Headline},
        "unjudged": 0,
    },
}


@pytest.mark.parametrize(
    ("card", "classifier", "missing"),
    [
        (CARD, "planted@1", ""),
        (CARD, "linear@3", "judged by classifier planted@1, these readings by linear@3"),
        ({"pack": "old"}, "planted@1", "nla-eval pack card --measure --only pairs --write"),
        (None, "planted@1", "the card of the pack has none"),
    ],
)
def test_told_recall_is_of_the_classifier_of_n_or_none(
    card: dict[str, Any] | None, classifier: str, missing: str
) -> None:
    found, why = told_recall(card, classifier, "strict@0123456789abcdef", Headline.BELIEF)
    assert missing in why
    assert (found is None) is bool(missing)
    if found is not None:
        assert (found.recall.value, found.recall.low, found.untold.value) == (0.3, pytest.approx(0.2), 0.1)
        assert tallied(FRAMES, card=card).told == found


def test_a_tally_of_readers_is_plain_data_that_comes_back_equal_from_json() -> None:
    found = tallied(with_reader(FRAMES, lambda row, own: own), card=CARD)
    assert ReadersTally.model_validate_json(found.model_dump_json()) == found


def test_the_order_of_rows_changes_nothing() -> None:
    frames = with_reader(FRAMES, lambda row, own: own and row["position"] > 200)
    mixed = Frames(
        frames.readings.sample(fraction=1.0, shuffle=True, seed=5),
        frames.judgements.sample(fraction=1.0, shuffle=True, seed=5),
        frames.turns,
        frames.transcripts.reverse(),
    )
    assert tallied(mixed) == tallied(frames)
