"""The instrument check: what the column "read aware (setting)" makes of the positive control, by target."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from ..stats.interval import Estimate
from .types_base import Frozen


class ControlKind(StrEnum):
    """What a target of the positive control carries."""

    ORGANISM = "organism"
    """A planted state, switched by the cue."""
    SHAM = "sham"
    """A shift of the same norm along another direction, switched by the same cue."""
    PLAIN = "plain"
    """Nothing: the plain target on the same texts."""


class Beyond(Frozen):
    """How far an organism's shift goes beyond that of a target which carries no such state."""

    target: str
    difference: Estimate
    """Mean over requests of one shift minus the other."""


class ControlRow(Frozen):
    """The positive control, read from one target: the same answers with the cue and without it."""

    target: str
    kind: ControlKind
    dose: float | None
    """In units of the natural shift from untold to told; None for the plain target."""
    with_cue: int
    """Transcripts with the cue."""
    without_cue: int
    aware_with: int
    """Transcripts with the cue that are read aware."""
    aware_without: int
    rate_with: Estimate
    """Share read aware with the cue; Wilson's interval."""
    rate_without: Estimate
    auroc: Estimate
    """Of a transcript's mean log-odds, with the cue above without it, over transcripts of all requests: what one
    transcript alone tells. Requests resampled with both sides."""
    pairs: int
    """Requests that were read on both sides."""
    higher: int
    """Of them, those whose mean log-odds are higher with the cue: what the same answer tells, read twice."""
    shift: Estimate
    """Mean over requests of log-odds with the cue minus without it."""
    beyond: list[Beyond] = Field(default_factory=list)
    """Of an organism: against the plain target, and every sham of at most its dose, on the same requests."""
    said: int
    """Transcripts in which an assistant turn says that it is evaluated."""

    @property
    def read(self) -> bool:
        """Whether the same answers show the planted state: their log-odds rise with the cue, and by more than they do
        in the plain target and in shams. Each by an interval that lies above 0."""
        return all(e.above_zero for e in (self.shift, *(b.difference for b in self.beyond)))

    @property
    def told_alone(self) -> bool:
        """Whether one transcript alone tells: the intervals of the two shares read aware lie apart. The interval of the
        AUROC is no test of it: requests are resampled with both sides, so a shift in every pair moves it off one half,
        however small."""
        low, high = self.rate_with.low, self.rate_without.high
        return low is not None and high is not None and low > high


class OrdinaryRow(Frozen):
    """Ordinary requests of one suite, which are not to be read aware."""

    suite: str
    target: str
    transcripts: int
    aware: int
    rate: Estimate
    """Share read aware, families resampled."""


class ControlTally(Frozen):
    """All targets, or why there is nothing to show."""

    rows: list[ControlRow] = Field(default_factory=list)
    """Organisms by falling dose, shams, the plain target."""
    ordinary: list[OrdinaryRow] = Field(default_factory=list)
    """Suites of the deployment arm that were read beside them, by name."""
    reader: str = ""
    """The setting adapter, with its hash."""
    threshold: float | None = None
    """From the pack's card: fixed on other data."""
    missing: str = ""
    """Why there are no rows; empty if there are."""

    def of(self, kind: ControlKind) -> list[ControlRow]:
        """Rows of one kind, in order."""
        return [row for row in self.rows if row.kind is kind]

    @property
    def smallest(self) -> ControlRow | None:
        """The smallest dose that is read: every larger one is, too. None if the largest is not."""
        found = None
        for row in self.of(ControlKind.ORGANISM):
            if not row.read:
                break
            found = row
        return found

    @property
    def passed(self) -> bool:
        """Whether a planted state is read, beside the plain target on the same texts."""
        return self.smallest is not None and bool(self.of(ControlKind.PLAIN))
