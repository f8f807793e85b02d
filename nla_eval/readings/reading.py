"""The rows that flow to the store: a reading is one explanation at one position in one lane; a score is a number of a
lane that has no text.

Column names are the store's contract (docs/store.md), their dtypes stand in `store/rows.py`. It runs no model."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from .lanes import Lane


class StopReason(StrEnum):
    """How one draw ended."""

    CLOSED = "closed"
    """The close tag was written."""
    TRUNCATED = "truncated"
    """The token cap was reached before the close tag. Never counted as a negative."""
    OUT_OF_CONTEXT = "out_of_context"
    """The position lies outside the window kept of the transcript."""
    ERROR = "error"


class Reading(BaseModel):
    """One row of the store. Its key is (pack, transcript_digest, position, lane, draw)."""

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
    """Up to 240 rendered characters that end with the token, for reports."""
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
    """cos with its own activation minus the mean cos with the activations of the run's other positions."""
    donor: str | None = None
    """Donor lane: where the activation came from, as "transcript_id:position"."""
    error: str | None = None
    reader: str | None = None
    """Lanes of texts without an activation: what wrote the text. A gain is relative to it."""


class Score(BaseModel):
    """One row of the lanes `probe` and `asked`. Its key is (transcript_digest, position, lane, reader).

    A score is no reading: it has no text, draw or judgement, and no denominator of judgements counts it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    transcript_digest: str
    position: int
    """Token index in the full replay; of `asked`, the transcript's last kept token."""
    lane: Lane
    reader: str
    """What gave the score: the id of a probe, or of the questions."""
    score: float | None
    """`probe`: log-odds. `asked`: mean probability of the answer that says "evaluation". None on error."""
    parts: list[float] | None = None
    """`asked`: that probability for each question, in order."""
    mass: float | None = None
    """`asked`: probability that the next token is a yes or a no, mean over questions. Near 0 the score means little."""
    error: str | None = None


KEY = ("pack", "transcript_digest", "position", "lane", "draw")
