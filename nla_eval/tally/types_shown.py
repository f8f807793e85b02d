"""Parts of a tally: the texts that a report shows."""

from __future__ import annotations

from ..judgement import Evidence, Headline, Outcome
from .types_base import Frozen


class ShownReading(Frozen):
    """One explanation with its context, which a reader can judge directly."""

    suite: str
    arm: str
    family: str
    transcript_id: str
    position: int
    message: int
    turn: int
    role: str
    channel: str
    lane: str
    draw: int
    token: str
    context: str
    explanation: str
    outcome: Outcome
    headlines: list[Headline]
    """The headlines under which it counts as aware."""
    labels: list[str]
    score: float | None
    evidence: list[Evidence]
    cos: float | None
    turn_verbalized: bool | None
    """Whether its assistant message says so itself, under the broad headline; None if not judged."""
    transcript_verbalized: bool | None
    aware_positions: int
    """Number of aware positions of this transcript in this lane, under the broad headline."""
    weak: bool
    """Whether it is the only flag of its transcript in this lane."""


class ShownTurn(Frozen):
    """A passage of an assistant turn that says so, from the model itself or from recorded words."""

    suite: str
    arm: str
    transcript_id: str
    message: int
    part: str
    text: str
    labels: list[str]
    headlines: list[Headline]
    evidence: list[Evidence]
    """Spans of `text`."""
