"""Joins judgements to the texts they judged, and keeps what is counted of each reading in a narrow frame.

A judgement attaches by the key of its reading AND the hash of its text. Duplicates that agree collapse; two verdicts by
one judge on one text are refused by name. Results do not depend on row order. Long texts stay in the input frames, for
a million readings have half a gigabyte of them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..errors import InputError
from ..judgement import JUDGED, Outcome, text_hash
from ..readings import StopReason
from .frames import Definitions, Frames, aware_columns

PLACE = ("t", "lane", "position", "draw")
"""The key of a reading of one pack; `t` is the number of its transcript."""
_STOPPED = {
    StopReason.TRUNCATED.value: Outcome.TRUNCATED.value,
    StopReason.OUT_OF_CONTEXT.value: Outcome.OUT_OF_CONTEXT.value,
    StopReason.ERROR.value: Outcome.ERROR.value,
}
_CLOSED = pl.col("stop") == StopReason.CLOSED.value
_KEPT = ("position", "lane", "draw", "stop", "channel", "donor")


@dataclass(frozen=True)
class Joined:
    """Readings with their judgements."""

    rows: pl.DataFrame
    """Sorted by `PLACE`, with stop, channel, donor, outcome, score, cut, judged, decided, an aware column per headline;
    `row` and `verdict` are row numbers in the frames of readings and judgements (verdict null without a judgement)."""
    foreign: int
    """Readings of no listed transcript."""
    unjudged: int
    """Closed explanations without a judgement. They count as ERROR."""
    other_text: int
    """Those of them that have a judgement, but of another text."""


def judged_readings(frames: Frames, numbers: pl.DataFrame, definitions: Definitions) -> Joined:
    """Join readings and judgements.

    If an explanation is not closed, its stop reason is the outcome, whatever the classifier says: a truncated
    explanation is never "not aware". A closed one without a judgement of its text is an ERROR.

    Args:
        frames: The input.
        numbers: Columns transcript_digest and t.
        definitions: Labels that count as aware.

    Raises:
        InputError: One judge gives two verdicts on one text.
    """
    readings, foreign = _readings(frames, numbers)
    judgements = _judgements(frames, numbers, definitions)
    rows = readings.join(judgements, on=list(PLACE), how="left")
    rows = rows.with_columns(attached=_attached(frames, rows, judgements))
    if rows.height > readings.height:
        rows = _one_judgement_each(frames, rows)
    lost = rows.filter(_CLOSED & ~pl.col("attached"))
    stopped = pl.col("stop").replace_strict(_STOPPED, default=None, return_dtype=pl.String())
    counted = [name for name in judgements.columns if name.startswith("aware_") or name in ("judged", "decided")]
    said = _CLOSED & pl.col("attached")
    rows = rows.with_columns(
        pl.coalesce(stopped, pl.when("attached").then("outcome"), pl.lit(Outcome.ERROR.value)).alias("outcome"),
        pl.when(said).then("score").alias("score"),
        pl.when("attached").then("verdict").alias("verdict"),
        *((pl.col(name).fill_null(False) & said).alias(name) for name in counted),
        cut=pl.lit(False),
    )
    return Joined(
        rows=rows.drop("attached", "text_hash", strict=False).sort(PLACE),
        foreign=foreign,
        unjudged=lost.height,
        other_text=lost.filter(pl.col("verdict").is_not_null()).height,
    )


def _readings(frames: Frames, numbers: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """One row per reading of a listed transcript, and how many belong to none."""
    every = frames.readings.select("transcript_digest", *_KEPT).with_row_index("row")
    rows = every.join(numbers, on="transcript_digest", how="inner").drop("transcript_digest")
    foreign = every.height - rows.height
    if rows.select(pl.struct(PLACE).n_unique()).item() == rows.height:
        return rows, foreign
    twice = pl.struct(PLACE).is_duplicated()
    rest = rows.filter(twice)
    texts = frames.readings["explanation"].gather(rest["row"])
    best = (
        rest.with_columns(text=texts, failed=pl.col("stop") == StopReason.ERROR.value)
        .sort(*PLACE, "failed", "stop", "text", nulls_last=True)
        .unique(PLACE, keep="first", maintain_order=True)
    )
    return pl.concat([rows.filter(~twice), best.drop("text", "failed")]), foreign


def _judgements(frames: Frames, numbers: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    columns = ["position", "lane", "draw", "outcome", "labels", "score"]
    columns += [name for name in ("text_hash",) if name in frames.judgements.columns]
    every = frames.judgements.select("transcript_digest", *columns).with_row_index("verdict")
    rows = every.join(numbers, on="transcript_digest", how="inner").drop("transcript_digest")
    return aware_columns(rows, definitions).drop("labels", "cut")


def _attached(frames: Frames, rows: pl.DataFrame, judgements: pl.DataFrame) -> pl.Series:
    """Whether the judgement beside a reading is of the reading's text."""
    found = rows["verdict"].is_not_null()
    if "text_hash" not in judgements.columns or judgements["text_hash"].null_count() == judgements.height:
        return found
    texts = frames.readings["explanation"].gather(rows["row"])
    own = pl.Series([text_hash(text) for text in texts], dtype=pl.String())
    return found & (rows["text_hash"].is_null() | (rows["text_hash"] == own)).fill_null(True)


def _one_judgement_each(frames: Frames, rows: pl.DataFrame) -> pl.DataFrame:
    """One row per reading: a judgement of its own text before another's, one that could be used before a failed one."""
    twice = pl.col("row").is_duplicated()
    rest = rows.filter(twice)
    labels = frames.judgements["labels"].gather(rest["verdict"])
    rest = rest.with_columns(said=said_by(rest["outcome"], labels))
    judged = pl.col("attached") & pl.col("outcome").is_in([o.value for o in JUDGED])
    _refuse_conflicts(frames, rest.filter(judged & _CLOSED))
    best = rest.with_columns(usable=judged).sort(
        "row", "attached", "usable", "said", "score", descending=[False, True, True, False, False], nulls_last=True
    )
    best = best.unique("row", keep="first", maintain_order=True).drop("said", "usable")
    return pl.concat([rows.filter(~twice), best])


def said_by(outcomes: pl.Series, labels: pl.Series) -> pl.Series:
    """Verdicts as text: the outcome and its labels."""
    frame = pl.DataFrame({"outcome": outcomes, "labels": labels.cast(pl.List(pl.String()))})
    words = pl.col("labels").fill_null([]).list.unique().list.sort().list.join(", ")
    return frame.select(said=pl.concat_str("outcome", pl.lit(" ("), words, pl.lit(")"), ignore_nulls=True))["said"]


def _refuse_conflicts(frames: Frames, judged: pl.DataFrame) -> None:
    several = judged.group_by("row").agg(pl.col("said").unique().sort()).filter(pl.col("said").list.len() > 1)
    if several.is_empty():
        return
    rows = frames.readings[several["row"].cast(pl.Int64).to_list()].with_columns(said=several["said"])
    first = rows.sort("transcript_id", "lane", "position", "draw").row(0, named=True)
    judge = next(iter(frames.judgements["classifier"].drop_nulls()), "the judge")
    raise InputError(
        f"conflicting judgements of one text by {judge}: transcript '{first['transcript_id']}', lane {first['lane']}, "
        f"position {first['position']}, draw {first['draw']} is {' and '.join(first['said'])}"
        f"{f'; {rows.height - 1} more conflict' if rows.height > 1 else ''}; "
        "leave one of the inputs out, or judge all again with --classifier"
    )
