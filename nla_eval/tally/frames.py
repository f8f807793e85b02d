"""The four input frames of a tally (readings, their judgements, judged turns, transcripts), and what counts in them.

`joining` and `turns` join them, `units` makes verdicts of them. It knows no suite and no classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ..cards.design import Design
from ..dataset.matching import MatchedArm
from ..errors import InputError
from ..judgement import JUDGED, Headline, JudgeCheck, Label, Outcome
from .identity import Identity

TURN_KEY = ("transcript_digest", "message", "part")
VERDICT_COLUMNS = ("outcome", "labels", "score", "evidence", "classifier", "rubric")
TRANSCRIPT_COLUMNS = (
    *("transcript_digest", "transcript_id", "suite", "arm", "family", "variant", "outcome", "on_policy"),
    *("planned_positions", "tokens", "turns", "tool_calls", "lost_tokens", "replay_notes"),
)

Definitions = Mapping[Headline, Sequence[Label]]
"""Which labels count as aware under each headline: `Rubric.headlines`."""


@dataclass(frozen=True)
class Frames:
    """The input of a tally."""

    readings: pl.DataFrame
    """Columns of `readings.SCHEMA`, any lanes."""
    judgements: pl.DataFrame
    """Columns: the key of a reading, then outcome, labels, score, evidence, classifier, rubric, note. Optional:
    text_hash, of the explanation judged: a judgement of another text does not attach. Null matches any text."""
    turns: pl.DataFrame
    """Columns: transcript_digest, message, part ("thinking", "text", "tool_call"), the same verdict columns, and text.
    Optional: author, stop, turn_id, text_hash."""
    transcripts: pl.DataFrame
    """One row per transcript: `TRANSCRIPT_COLUMNS`. Optional: languages (list of strings), words_by, logged_is_target,
    run, channel_tokens (list of structs of channel and tokens: sizes of the strata, under a stratified policy)."""
    designs: Mapping[str, Design] = field(default_factory=dict)
    """The design that compares the variants of a suite, by suite name."""
    matched: Sequence[MatchedArm] = ()
    """How deployment arms were drawn."""
    checks: Sequence[JudgeCheck] = ()
    """What the judges made of the known texts; empty where nobody looked."""
    repeats: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(arm, suite) -> transcripts with the content of another one that were left out before these frames."""
    identity: Identity | None = None
    """What everything was read with; None if nobody says."""

    @property
    def packs(self) -> list[str]:
        """Packs that made the readings."""
        return sorted(self.readings["pack"].unique())

    @property
    def policies(self) -> list[str]:
        """Position policies of the readings."""
        return sorted(self.readings["policy"].unique())


def column(headline: Headline) -> str:
    """The name of a headline's aware column."""
    return f"aware_{headline.value}"


def outcome_under(headline: Headline) -> pl.Expr:
    """The outcome of a joined row under one headline, as `Judgement.under` gives it. A turn that was cut off is
    TRUNCATED instead of not aware."""
    verdict = (
        pl.when(column(headline))
        .then(pl.lit(Outcome.AWARE.value))
        .when("cut")
        .then(pl.lit(Outcome.TRUNCATED.value))
        .otherwise(pl.lit(Outcome.NOT_AWARE.value))
    )
    return (
        pl.when(pl.col("outcome").is_in([Outcome.AWARE.value, Outcome.NOT_AWARE.value]))
        .then(verdict)
        .otherwise(pl.col("outcome"))
    )


def aware_columns(rows: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    """Rows with `judged`, `decided` (AWARE or NOT_AWARE), one aware column per headline, and `cut`: False where rows do
    not say."""
    labels = pl.col("labels").cast(pl.List(pl.String())).fill_null([])
    decided = pl.col("outcome").is_in([Outcome.AWARE.value, Outcome.NOT_AWARE.value])
    cut = pl.col("cut") if "cut" in rows else pl.lit(False)
    return rows.with_columns(labels.alias("labels"), cut.alias("cut")).with_columns(
        (pl.col("outcome").is_in([o.value for o in JUDGED]) & (~cut | (pl.col("outcome") == Outcome.AWARE))).alias(
            "judged"
        ),
        decided.fill_null(False).alias("decided"),
        *(
            (decided & pl.any_horizontal(pl.lit(False), *(pl.col("labels").list.contains(x.value) for x in counted)))
            .fill_null(False)
            .alias(column(headline))
            for headline, counted in definitions.items()
        ),
    )


def draws_of(rows: pl.DataFrame) -> int:
    """Draws per position: the largest number found, at least 1. Rows have transcript_digest or t, and position."""
    if rows.is_empty():
        return 1
    most = rows.group_by("t" if "t" in rows.columns else "transcript_digest", "position").len()["len"].max()
    return int(str(most))


def require(frame: pl.DataFrame, columns: Iterable[str], name: str) -> None:
    """Raises InputError if a frame lacks columns."""
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise InputError(f"the {name} frame lacks the column(s) {', '.join(missing)}; judge the readings again")
