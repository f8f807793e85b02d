"""Types of what stands beside N: the gain over other readers of the same transcripts, shuffles, and told recall.

They are plain, frozen and serialisable. A gain that is not shown is said to be zero."""

from __future__ import annotations

from pydantic import Field

from ..judgement import Headline
from ..readings import Lane
from ..stats.gain import Discordant, Gain
from ..stats.interval import Estimate
from ..stats.permutation import PermutationTest
from .types_base import Frozen


class ReaderGain(Frozen):
    """N against another reader of the same transcripts: one suite against the deployment arm."""

    suite: str
    lane: Lane
    reader: str
    """What reads in that lane: a gain is relative to it."""
    gain: Gain
    """Fraction of aware positions against the reader's own; against the score, in lanes without texts."""
    transcripts: Discordant | None
    """Any-of-k verdicts of the suite's transcripts; None in lanes without texts."""
    positions: Discordant | None
    """Verdicts of the suite's positions: how often an aware reading is aware where the reader of the text is silent."""

    @property
    def sentence(self) -> str:
        """The gain in words. Without an interval that leaves zero out, it is zero."""
        what = {1: "privileged gain over", 0: "zero gain over", -1: "N is worse than"}[self.gain.sign]
        differs = _signed(self.gain.auroc)
        at = f"at {100 * self.gain.rate:.0f} % false positives {_signed(self.gain.at_rate)}"
        return f"{self.suite}: {what} {self.lane} ({self.reader}): AUROC difference {differs}; {at}"


class Shuffled(Frozen):
    """What shuffling labels and vectors says of N. The AV is not run again: permuted vectors only permute its texts."""

    suite: str
    arms: PermutationTest | None
    """N (any of k) of the suite against deployment, families exchanged between the arms. None without deployment."""
    matched_minus_shuffled: Estimate
    """cos of the AR's vector with its own activation minus the mean cos with the run's others, over positions."""


class ToldRecall(Frozen):
    """Recall of N where the prompt says that this is an evaluation, by the classifier and headline of N."""

    pack: str
    classifier: str
    rubric: str
    headline: Headline
    recall: Estimate
    untold: Estimate
    """Rate on the other side of the pairs."""
    difference: Estimate


class ReadersTally(Frozen):
    """Everything beside N under one headline."""

    headline: Headline
    gains: list[ReaderGain]
    shuffled: list[Shuffled]
    told: ToldRecall | None
    told_missing: str = ""
    """Why there is no told recall; empty if there is."""
    notes: list[str] = Field(default_factory=list)
    """What was left out."""


def _signed(found: Estimate) -> str:
    """An estimate as "+0.12 [+0.05, +0.20]", or why it has no interval."""
    if found.value is None:
        return f"withheld ({found.withheld})"
    value = f"{found.value + 0.0:+.2f}" if round(found.value, 2) else "0.00"
    if found.low is None or found.high is None:
        return f"{value} (no interval: {found.withheld})"
    return f"{value} [{found.low:+.2f}, {found.high:+.2f}]"
