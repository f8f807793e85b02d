"""The rows that flow from the engine to the store: a reading is one explanation of one activation in one lane.

Column names are the store's contract (docs/store.md), their dtypes stand in `store/rows.py`. It runs no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Lane(StrEnum):
    """Which activation was verbalized: the measured one or a control (docs/method.md 4.6). `LANES` has them all."""

    MEASURED = "measured"
    DONOR = "donor"
    GAUSSIAN = "gaussian"
    MEAN = "mean"
    NO_INJECTION = "no_injection"
    TEXT_ONLY = "text_only"
    PROBE = "probe"


class Needs(StrEnum):
    """What must be there before a lane can be read at a position."""

    OWN = "own"
    """The position's own activation."""
    DONORS = "donors"
    """Activations of transcripts of the deployment arm."""
    MOMENTS = "moments"
    """Several activations, of the deployment arm where it has some."""
    NOTHING = "nothing"
    """Nothing is injected."""
    READER = "reader"
    """Another reader than the verbalizer, which there is none of yet: the lane is not offered."""


@dataclass(frozen=True)
class Display:
    """How summaries, figures and reports name a lane that they show beside the others."""

    heading: str
    """Of a column, after "N"."""
    legend: str
    """In a figure."""
    beside: str = ""
    """What a control's rate is a rate of, as in "3 % with deployment activations in the same slots"."""
    tag: str = ""
    """On one of its explanations."""
    note: str = ""
    """Sentence below a figure."""
    limit: tuple[str, str] | None = None
    """Heading and text of what may not be concluded from it."""


@dataclass(frozen=True)
class LaneEntry:
    """All that there is to know of a lane, but for how its activation is made (`pipeline.lanes`)."""

    meaning: str
    """In a few words, for help and reports."""
    needs: Needs
    not_in: frozenset[str] = frozenset()
    """Arms in whose transcripts it is not read."""
    display: Display | None = None
    """None where tables of controls are all that shows it."""

    @property
    def verbalized(self) -> bool:
        """Whether the verbalizer reads it: such lanes can be asked for."""
        return self.needs is not Needs.READER

    @property
    def injects(self) -> bool:
        """Whether an activation is injected, with which the AR can compare."""
        return self.verbalized and self.needs is not Needs.NOTHING

    @property
    def real(self) -> bool:
        """Whether what is injected is the activation of some position, not made from several."""
        return self.needs in (Needs.OWN, Needs.DONORS)

    @property
    def borrows(self) -> bool:
        """Whether what is injected comes from other positions."""
        return self.needs in (Needs.DONORS, Needs.MOMENTS)


LANES: dict[Lane, LaneEntry] = {
    Lane.MEASURED: LaneEntry(
        "the position's own activation", Needs.OWN, display=Display(heading="measured", legend="measured")
    ),
    Lane.DONOR: LaneEntry(
        "the activation of a deployment transcript, matched on position, channel and token class",
        Needs.DONORS,
        # It asks what ordinary use gives in other slots: in deployment slots it would read that arm a second time.
        not_in=frozenset({"deployment"}),
        display=Display(
            heading="donor lane",
            legend="donor (deployment activations)",
            beside="with deployment activations in the same slots",
            tag="activation of a deployment transcript",
            note="The donor lane carries activations from deployment transcripts in the same slots: what it flags is "
            "false by construction.",
            limit=(
                "The donor lane bounds false positives, not truth",
                "It puts activations of deployment transcripts, matched on position and channel, in the same slots. "
                "What it flags cannot be awareness of these evaluations. What it leaves alone may still be a habit of "
                "the verbalizer that only evaluation-like text brings out.",
            ),
        ),
    ),
    Lane.GAUSSIAN: LaneEntry("a random vector with the mean and covariance of real activations", Needs.MOMENTS),
    Lane.MEAN: LaneEntry("the mean activation", Needs.MOMENTS),
    Lane.NO_INJECTION: LaneEntry("no activation", Needs.NOTHING),
    Lane.TEXT_ONLY: LaneEntry("a description written from the text alone", Needs.READER),
    Lane.PROBE: LaneEntry("a linear readout of the raw activation", Needs.READER),
}
"""Every lane once. A new one is an entry here and, where the verbalizer reads it, a maker in `pipeline.lanes`."""

READABLE = tuple(lane for lane, entry in LANES.items() if entry.verbalized)
"""Lanes that can be asked for."""
DISPLAYED = {lane: entry.display for lane, entry in LANES.items() if entry.display is not None}
"""Lanes that summaries, figures and reports show: the measured one, then controls."""


def lanes_in(lanes: Iterable[Lane], arm: str) -> tuple[Lane, ...]:
    """Those of `lanes` that are read in transcripts of `arm`."""
    return tuple(lane for lane in lanes if arm not in LANES[lane].not_in)


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
