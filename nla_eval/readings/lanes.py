"""The one table of lanes: what each needs, where it is read, how it is named and shown. Imports nothing heavy, so that
`--help` can name the lanes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Lane(StrEnum):
    """What was read at a position: its own activation, a control, or its text (docs/method.md 4.6). `LANES` describes
    each."""

    MEASURED = "measured"
    DONOR = "donor"
    GAUSSIAN = "gaussian"
    MEAN = "mean"
    NO_INJECTION = "no_injection"
    TEXT_ONLY = "text_only"
    TEXT_RAW = "text_raw"
    PROBE = "probe"
    SETTING = "setting"
    ASKED = "asked"


class Needs(StrEnum):
    """What must exist before a lane can be read at a position."""

    OWN = "own"
    """The position's own activation."""
    DONORS = "donors"
    """Activations of transcripts of the deployment arm."""
    MOMENTS = "moments"
    """Several activations: those of the deployment arm if it has any, else all."""
    NOTHING = "nothing"
    """Nothing is injected."""
    TEXT_READER = "text_reader"
    """A reader of the text: the pack's text_only adapter, or a chat model named with `text_reader`."""
    PREFIX = "prefix"
    """The tokens up to the position."""
    PROBE = "probe"
    """A probe file, named with `probe`, and the position's own activation."""
    SETTING = "setting"
    """The pack's setting adapter, and the position's own activation."""
    TARGET = "target"
    """The target with its language-model head, which answers a question after the transcript."""


_INJECTED = (Needs.OWN, Needs.DONORS, Needs.MOMENTS)
_VERBALIZED = (*_INJECTED, Needs.NOTHING)
_WRITTEN = (Needs.TEXT_READER, Needs.PREFIX)


@dataclass(frozen=True)
class Display:
    """How summaries, figures and reports name a lane."""

    heading: str
    """Column heading, after "N"."""
    legend: str
    """Legend entry in a figure."""
    beside: str = ""
    """Phrase after a control's rate, as in "3 % with deployment activations in the same slots"."""
    tag: str = ""
    """Tag on each of the lane's explanations."""
    note: str = ""
    """Sentence printed below a figure."""
    limit: tuple[str, str] | None = None
    """Heading and text of the limit on what the lane can show."""


@dataclass(frozen=True)
class LaneEntry:
    """Everything about a lane, except how its activation is made (see `pipeline.lanes`)."""

    meaning: str
    """What is read, in a few words, for help and reports."""
    needs: Needs
    not_in: frozenset[str] = frozenset()
    """Arms whose transcripts are not read in this lane."""
    display: Display | None = None
    """None if only the tables of controls show the lane."""
    lacking: str = ""
    """What to say where its need is not met: what is missing and how to get it."""
    repeats: bool = True
    """Whether further draws differ."""

    @property
    def verbalized(self) -> bool:
        """Whether the verbalizer reads the lane."""
        return self.needs in _VERBALIZED

    @property
    def written(self) -> bool:
        """Whether the lane holds texts made from the prefix alone, without an activation."""
        return self.needs in _WRITTEN

    @property
    def explained(self) -> bool:
        """Whether the lane holds texts, which a classifier judges. The other lanes hold scores."""
        return self.verbalized or self.written

    @property
    def injects(self) -> bool:
        """Whether an activation is injected. The AR can score only such lanes."""
        return self.needs in _INJECTED

    @property
    def real(self) -> bool:
        """Whether the injected activation belongs to one position, rather than being made from several."""
        return self.needs in (Needs.OWN, Needs.DONORS)

    @property
    def borrows(self) -> bool:
        """Whether the injected activation comes from other positions."""
        return self.needs in (Needs.DONORS, Needs.MOMENTS)


LANES: dict[Lane, LaneEntry] = {
    Lane.MEASURED: LaneEntry(
        "the position's own activation", Needs.OWN, display=Display(heading="measured", legend="measured")
    ),
    Lane.DONOR: LaneEntry(
        "the activation of a deployment transcript, matched on position, channel and token class",
        Needs.DONORS,
        # The lane shows what deployment activations give in other arms' slots; in deployment slots it would only read
        # that arm a second time.
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
    Lane.TEXT_ONLY: LaneEntry(
        "a description written from the text up to the position, without its activation",
        Needs.TEXT_READER,
        lacking="the text_only lane needs a text reader, and pack '{pack}' has no text_only adapter; name a chat model "
        "with --text-reader, or train the adapter (text_only.samples in nla-eval train)",
    ),
    Lane.TEXT_RAW: LaneEntry("the text up to the position itself", Needs.PREFIX, repeats=False),
    Lane.PROBE: LaneEntry(
        "a linear probe on the raw activation: a score per position",
        Needs.PROBE,
        lacking="the probe lane needs a probe of target and layer; make one with nla-eval probe train, then give "
        "--probe FILE",
        repeats=False,
    ),
    Lane.SETTING: LaneEntry(
        "the log-odds that the prompt told the model of a test, by the pack's setting adapter: a score per position",
        Needs.SETTING,
        lacking="the setting lane needs a setting adapter, and pack '{pack}' has none; leave the lane out, or train "
        "one with nla-eval setting train",
        repeats=False,
    ),
    Lane.ASKED: LaneEntry(
        "the target's own yes or no to a question after the transcript: a score per transcript",
        Needs.TARGET,
        repeats=False,
    ),
}
"""One entry per lane. To add a lane that the verbalizer reads, add an entry here and a maker in `pipeline.lanes`."""

READABLE = tuple(LANES)
"""Lanes that can be requested, the measured one first. `pipeline.readers` refuses one whose need is not met."""
EXPLAINED = tuple(lane for lane, entry in LANES.items() if entry.explained)
"""Lanes of texts: their readings are judged."""
VERBALIZED = tuple(lane for lane, entry in LANES.items() if entry.verbalized)
"""Lanes that the verbalizer reads."""
DISPLAYED = {lane: entry.display for lane, entry in LANES.items() if entry.display is not None}
"""Lanes that summaries, figures and reports show: the measured lane, then the controls."""


def lanes_in(lanes: Iterable[Lane], arm: str) -> tuple[Lane, ...]:
    """The subset of `lanes` that is read in transcripts of `arm`."""
    return tuple(lane for lane in lanes if arm not in LANES[lane].not_in)
