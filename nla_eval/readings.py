"""The rows that flow from the engine to the store: a reading is one explanation of one activation in one lane.

Column names are the store's contract (docs/store.md), their dtypes stand in `store/rows.py`. It runs no model."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Lane(StrEnum):
    """Which activation was verbalized: the measured one or a control (docs/method.md 4.6)."""

    MEASURED = "measured"
    DONOR = "donor"
    GAUSSIAN = "gaussian"
    MEAN = "mean"
    NO_INJECTION = "no_injection"
    TEXT_ONLY = "text_only"


READABLE = (Lane.MEASURED, Lane.DONOR, Lane.GAUSSIAN, Lane.MEAN, Lane.NO_INJECTION)
"""Lanes that can be asked for."""


def lanes_in(lanes: Iterable[Lane], arm: str) -> tuple[Lane, ...]:
    """Those of `lanes` that are read in transcripts of `arm`.

    The donor lane asks what ordinary use gives in other slots; in the deployment arm's own slots it would read that arm
    a second time.
    """
    return tuple(lane for lane in lanes if lane is not Lane.DONOR or arm != "deployment")


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
