"""The rows of a store by kind: their columns, deduplication, and the encoding of activations.

In: polars frames in the order of their parts. Out: frames with one row per key; for readings the result does not depend
on the order of parts. Pure functions: no files, no engine."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from ..errors import StoreError
from ..readings import KEY, StopReason
from ..transcript import TurnFacts

SCHEMA: dict[str, pl.DataType] = {
    "pack": pl.String(),
    "transcript_digest": pl.String(),
    "transcript_id": pl.String(),
    "suite": pl.String(),
    "position": pl.Int64(),
    "lane": pl.String(),
    "draw": pl.Int64(),
    "policy": pl.String(),
    "seed": pl.Int64(),
    "message": pl.Int64(),
    "role": pl.String(),
    "channel": pl.String(),
    "turn": pl.Int64(),
    "token": pl.String(),
    "context": pl.String(),
    "explanation": pl.String(),
    "stop": pl.String(),
    "tokens": pl.Int64(),
    "activation_norm": pl.Float64(),
    "cos": pl.Float64(),
    "mse_nrm": pl.Float64(),
    "fve_nrm": pl.Float64(),
    "fve_meannorm": pl.Float64(),
    "matched_minus_shuffled": pl.Float64(),
    "donor": pl.String(),
    "error": pl.String(),
    "reader": pl.String(),
}
"""Polars dtypes of a parquet part of readings, in column order: the fields of `Reading`."""

ActivationStorage = Literal["float32", "float16", "bfloat16", "none"]
"""Dtype in which a store keeps activations. bfloat16 is stored as its bits (UInt16), because parquet lacks it."""

TRANSCRIPT_SCHEMA: dict[str, pl.DataType] = {
    "transcript_digest": pl.String(),
    "transcript_id": pl.String(),
    "suite": pl.String(),
    "arm": pl.String(),
    "family": pl.String(),
    "variant": pl.String(),
    "outcome": pl.String(),
    "on_policy": pl.Boolean(),
    "planned_positions": pl.Int64(),
    "tokens": pl.Int64(),
    "turns": pl.Int64(),
    "tool_calls": pl.Int64(),
    "lost_tokens": pl.Int64(),
    "replay_notes": pl.List(pl.String()),
    "turn_facts": pl.List(pl.Struct({"author": pl.String(), "stop": pl.String()})),
    "words_by": pl.String(),
    "logged_is_target": pl.Boolean(),
    "run": pl.String(),
    "trained_on": pl.String(),
    "channel_tokens": pl.List(pl.Struct({"channel": pl.String(), "tokens": pl.Int64()})),
}
"""Polars dtypes of the transcripts frame, in column order: the fields of `TranscriptRow`."""

SCORE_SCHEMA: dict[str, pl.DataType] = {
    "transcript_digest": pl.String(),
    "position": pl.Int64(),
    "lane": pl.String(),
    "reader": pl.String(),
    "score": pl.Float64(),
    "parts": pl.List(pl.Float64()),
    "mass": pl.Float64(),
    "error": pl.String(),
}
"""Polars dtypes of a parquet part of scores, in column order: the fields of `readings.Score`."""
SCORE_KEY = ("transcript_digest", "position", "lane", "reader")

LATER_COLUMNS = {
    "readings": ("reader",),
    "transcripts": ("turn_facts", "words_by", "logged_is_target", "run", "trained_on", "channel_tokens"),
}
"""Columns that parts from earlier versions lack, by kind. They are read as null."""

MESSAGE_SCHEMA: dict[str, pl.DataType] = {"transcript_digest": pl.String(), "messages": pl.String()}
FACT_SCHEMA: dict[str, pl.DataType] = {"about": pl.String(), "suite": pl.String(), "fact": pl.String()}
KINDS = ("readings", "transcripts", "messages", "activations", "facts", "scores")

_NUMBERS: dict[str, pl.DataType] = {"float32": pl.Float32(), "float16": pl.Float16(), "bfloat16": pl.UInt16()}
_LARGEST = {"float16": float(np.finfo(np.float16).max), "bfloat16": float(np.uint32(0x7F7F0000).view(np.float32))}


class ChannelTokens(BaseModel):
    """A stratum of a transcript: the tokens of one channel that a stratified policy draws from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str
    tokens: int


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class TranscriptRow:
    """Facts that tallies need about one planned transcript.

    A run holds one for each of its transcripts, so it is no pydantic model: that takes 4 kB, this 0.5 kB.
    """

    transcript_digest: str
    transcript_id: str
    suite: str
    arm: str
    family: str
    variant: str | None = None
    outcome: str | None = None
    on_policy: bool = False
    planned_positions: int = 0
    """Number of positions the policy chose; 0 if the transcript could not be prepared."""
    tokens: int = 0
    """Number of tokens kept by the window."""
    turns: int = 0
    """User turns."""
    tool_calls: int = 0
    lost_tokens: int = 0
    """Number of tokens the window cut off."""
    replay_notes: list[str] = Field(default_factory=list)
    turn_facts: list[TurnFacts] | None = None
    """One per assistant message; None if unknown."""
    words_by: str | None = None
    """The model that wrote the assistant turns, according to the source."""
    logged_is_target: bool = False
    """Whether turns of author "logged" count as the target's own: `words_by` is the target, or was declared to be."""
    run: str | None = None
    """Id of the run that several transcripts come from. They share turns, by message id."""
    trained_on: Literal["content", "family"] | None = None
    """What it shares with the text that the pack was trained on; no rate counts such a transcript."""
    channel_tokens: list[ChannelTokens] | None = None
    """Sizes of the strata; None unless the policy is stratified."""

    def plain(self) -> dict[str, Any]:
        """Its fields as plain values, for a frame or a log."""
        values: dict[str, Any] = _TRANSCRIPT_ROW.dump_python(self, mode="json")
        return values


_TRANSCRIPT_ROW = TypeAdapter(TranscriptRow)


class Fact(BaseModel):
    """A fact about a group of transcripts that a tally needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: Literal["design", "matched"]
    suite: str
    """Suite the fact is about; for a matched arm, the suites it was drawn from, joined by commas."""
    fact: str
    """JSON of a `cards.design.Design` or a `dataset.matching.MatchedArm`."""


def activation_schema(storage: ActivationStorage, d_model: int) -> dict[str, pl.DataType]:
    """Columns of the activations in a store that keeps them as `storage`."""
    number = _NUMBERS[storage if storage != "none" else "float32"]
    return {
        "transcript_digest": pl.String(),
        "position": pl.Int64(),
        "activation": pl.Array(number, d_model),
    }


def to_disk(activations: NDArray[np.float32], storage: ActivationStorage) -> NDArray[Any]:
    """Convert (n, d_model) to the dtype of `storage`, rounded to nearest, ties to even.

    Raises:
        StoreError: A value is not finite, or too large for `storage`.
    """
    rows = np.ascontiguousarray(activations, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise StoreError("an activation is not a finite number and is not stored; read the target in float32")
    largest = float(np.abs(rows).max(initial=0.0))
    if largest > _LARGEST.get(storage, np.inf):
        raise StoreError(f"an activation of {largest:.3g} does not fit {storage}; store activations as float32")
    if storage == "float16":
        return rows.astype(np.float16)
    if storage == "bfloat16":
        bits = rows.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rows


def from_disk(stored: NDArray[Any], storage: ActivationStorage) -> NDArray[np.float32]:
    """Convert the output of `to_disk` back to (n, d_model) float32."""
    if storage == "bfloat16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def resolved(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Keep one row per key. Deduplication is associative: batches give the same result.

    Args:
        kind: Kind of the rows, one of `KINDS`.
        frame: Rows in the order of their parts.
    """
    if kind == "readings":
        return _one_reading_per_key(frame)
    if kind == "transcripts":
        return _latest_prepared(frame)
    if kind == "scores":
        return _one_score_per_key(frame)
    if kind == "facts":
        return frame.unique(maintain_order=True).sort(list(FACT_SCHEMA))
    key = ["transcript_digest", "position"] if kind == "activations" else ["transcript_digest"]
    return frame.unique(subset=key, keep="first", maintain_order=True).sort(key)


def without_mended(readings: pl.DataFrame) -> pl.DataFrame:
    """Drop the ERROR row (position -1) of every transcript that has been read since."""
    if not (readings["position"] == -1).any():
        return readings
    drawn = pl.col("stop").is_in([StopReason.CLOSED.value, StopReason.TRUNCATED.value])
    mended = (pl.col("position") == -1) & drawn.any().over("transcript_digest")
    return readings.filter(~mended)


def clean(row: dict[str, Any]) -> dict[str, Any]:
    """Replace lone surrogates in a row's text, which a transcript may contain and UTF-8 cannot encode."""
    return {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in row.items()}


def _one_reading_per_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Among rows with the same key, keep a successful one, then the smallest by its other columns, missing values last.
    So a row with AR scores wins over the same row without. Texts are compared only where a key occurs twice."""
    key, rest = list(KEY), [column for column in SCHEMA if column not in KEY]
    twice = frame.select(pl.struct(key).is_duplicated()).to_series()
    once = frame.select(list(SCHEMA))
    if twice.any():
        best = (
            frame.filter(twice)
            .with_columns(failed=pl.col("stop") == StopReason.ERROR.value)
            .sort([*key, "failed", *rest], nulls_last=True)
            .unique(subset=key, keep="first", maintain_order=True)
            .select(list(SCHEMA))
        )
        once = pl.concat([once.filter(~twice), best])
    return once.sort(key, nulls_last=True)


def _one_score_per_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Among rows with the same key, keep one with a score, then the smallest by its other columns."""
    return (
        frame.sort([*SCORE_KEY, "score", "mass", "error"], nulls_last=True)
        .unique(subset=list(SCORE_KEY), keep="first", maintain_order=True)
        .select(list(SCORE_SCHEMA))
    )


def _latest_prepared(frame: pl.DataFrame) -> pl.DataFrame:
    """For each transcript, keep the latest row that could be prepared; if there is none, the latest row."""
    return (
        frame.with_row_index("order")
        .with_columns(prepared=pl.col("planned_positions") > 0)
        .sort("transcript_digest", "prepared", "order")
        .unique(subset=["transcript_digest"], keep="last", maintain_order=True)
        .select(list(TRANSCRIPT_SCHEMA))
    )
