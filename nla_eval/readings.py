"""The rows that flow from the engine to the store: a reading is one explanation of one activation in one lane.

Column names and dtypes are the store's contract (docs/store.md). Nothing here runs a model."""

from __future__ import annotations

from enum import StrEnum

import polars as pl
from pydantic import BaseModel, ConfigDict


class Lane(StrEnum):
    """Which activation was verbalized: the measured one or a control (docs/method.md 4.6)."""

    MEASURED = "measured"
    DONOR = "donor"
    GAUSSIAN = "gaussian"
    MEAN = "mean"
    NO_INJECTION = "no_injection"
    TEXT_ONLY = "text_only"


class StopReason(StrEnum):
    """How one draw ended."""

    CLOSED = "closed"
    """The close tag was written."""
    TRUNCATED = "truncated"
    """The token cap came first: never a negative."""
    OUT_OF_CONTEXT = "out_of_context"
    """The position lies beyond the target's window."""
    ERROR = "error"


class Reading(BaseModel):
    """One row. Its key is (pack, transcript_digest, position, lane, draw)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pack: str
    """Pack id: name and content hash."""
    transcript_digest: str
    transcript_id: str
    suite: str
    position: int
    """Token index in the full replay."""
    lane: Lane
    draw: int
    policy: str
    """Position policy with its argument, e.g. "uniform_response(50)"."""
    seed: int
    message: int
    role: str
    channel: str
    turn: int
    token: str
    """The token's text."""
    context: str
    """Up to 240 rendered characters before and including the token, for reports."""
    explanation: str
    stop: StopReason
    tokens: int
    """Generated tokens."""
    activation_norm: float | None = None
    cos: float | None = None
    mse_nrm: float | None = None
    fve_nrm: float | None = None
    fve_meannorm: float | None = None
    matched_minus_shuffled: float | None = None
    """cos with its own activation minus mean cos with other positions' activations of the same run."""
    donor: str | None = None
    """For the donor lane: "transcript_id:position" the activation came from."""
    error: str | None = None


KEY = ("pack", "transcript_digest", "position", "lane", "draw")

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
}
"""Polars dtypes of a parquet part, in column order: `Reading`'s fields."""
