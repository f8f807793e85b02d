"""Judged parts of assistant turns: whose words they are, whether they were cut off, and which turns repeat.

In: the turns and transcripts of the input. Out: one row per part, with one aware column per headline. It knows no
classifier."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..errors import InputError
from ..judgement import JUDGED, Outcome, text_hash
from ..transcript import CUT, Author
from .frames import TURN_KEY, Definitions, aware_columns
from .joining import said_by


def judged_turns(turns: pl.DataFrame, transcripts: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    """Judged parts of assistant turns, sorted by key, with one aware column per headline and three more columns:

    - `own`: the target wrote the turn, in this run or in a log of its own. Older inputs do not record authors; there,
      the last turn of an on-policy transcript is the target's own.
    - `cut`: a limit or a filter ended the turn.
    - `repeat`: an earlier transcript of the same run has the same turn.

    Raises:
        InputError: One judge gives two verdicts on one text, or one turn has two texts.
    """
    later = {name: pl.String() for name in ("author", "stop", "turn_id", "text_hash")}
    turns = _of_their_text(_with_missing(turns, later))
    facts = _with_missing(transcripts, {"logged_is_target": pl.Boolean(), "run": pl.String()}).select(
        "transcript_digest", "suite", "on_policy", "logged_is_target", "run",
        stretch=pl.col("transcript_id").str.extract(r"#(\d+)$").cast(pl.Int64),
    )  # fmt: skip
    facts = facts.unique("transcript_digest", keep="first", maintain_order=True)
    author, last = pl.col("author"), pl.col("message") == pl.col("message").max().over("transcript_digest")
    own = (
        (author == Author.TARGET.value)
        | ((author == Author.LOGGED.value) & pl.col("logged_is_target"))
        | (author.is_null() & pl.col("on_policy") & last)
    )
    rows = _one_judgement_each(turns).join(facts, on="transcript_digest", how="left")
    turn = ["suite", "run", "turn_id", "part"]
    rows = rows.sort("stretch", *TURN_KEY, nulls_last=True).with_columns(
        own=own.fill_null(False),
        cut=pl.col("stop").is_in(sorted(CUT)).fill_null(False),
        repeat=~pl.struct(turn).is_first_distinct() & pl.col("run").is_not_null() & pl.col("turn_id").is_not_null(),
    )
    return aware_columns(rows.drop("suite", "on_policy", "logged_is_target", "run", "stretch"), definitions).sort(
        TURN_KEY
    )


def _with_missing(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, dtype=t).alias(name) for name, t in columns.items() if name not in frame)


def _of_their_text(turns: pl.DataFrame) -> pl.DataFrame:
    """Turns whose judgement is of another text as ERROR, and with no verdict."""
    if turns["text_hash"].null_count() == turns.height:
        return turns
    own = pl.Series([text_hash(text) for text in turns["text"]], dtype=pl.String())
    other = (turns["text_hash"] != own).fill_null(False)
    return turns.with_columns(
        outcome=pl.when(other).then(pl.lit(Outcome.ERROR.value)).otherwise("outcome"),
        labels=pl.when(other).then(pl.lit([], dtype=pl.List(pl.String()))).otherwise("labels"),
        score=pl.when(other).then(None).otherwise("score"),
        text_hash=pl.when(other).then(own).otherwise("text_hash"),
    )


def _one_judgement_each(turns: pl.DataFrame) -> pl.DataFrame:
    """One row per part; a judgement that could be used before one that failed."""
    if turns.select(pl.struct(TURN_KEY).n_unique()).item() == turns.height:
        return turns
    rows = turns.with_columns(
        said=said_by(turns["outcome"], turns["labels"]),
        usable=pl.col("outcome").is_in([o.value for o in JUDGED]),
    )
    texts = rows.group_by(TURN_KEY).agg(pl.col("text").n_unique()).filter(pl.col("text") > 1)
    if not texts.is_empty():
        raise InputError(
            f"{_named(texts)} has {texts.sort(TURN_KEY).row(0, named=True)['text']} texts; "
            "leave all but one of the inputs with this transcript out"
        )
    several = rows.filter("usable").group_by(TURN_KEY).agg(pl.col("said").unique().sort())
    several = several.filter(pl.col("said").list.len() > 1)
    if not several.is_empty():
        said = " and ".join(several.sort(TURN_KEY).row(0, named=True)["said"])
        judge = next(iter(turns["classifier"].drop_nulls()), "the judge")
        raise InputError(
            f"conflicting judgements of one text by {judge}: {_named(several)} is {said}; "
            "leave one of the inputs out, or judge all again with --classifier"
        )
    best = rows.sort(
        *TURN_KEY, "usable", "said", "score", descending=[False] * 3 + [True, False, False], nulls_last=True
    )
    return best.unique(TURN_KEY, keep="first", maintain_order=True).drop("said", "usable")


def _named(rows: pl.DataFrame) -> str:
    first = rows.sort(TURN_KEY).row(0, named=True)
    return f"message {first['message']} ({first['part']}) of transcript {first['transcript_digest'][:12]}"
