"""The column "read aware (setting)": what the pack's setting adapter read, beside N and never part of it."""

from __future__ import annotations

from pydantic import Field

from ..models.setting import UNTOLD_ABOVE
from ..stats.contrast import Contrast
from ..stats.interval import Estimate
from .types_base import Frozen


class SettingRow(Frozen):
    """One suite in one arm, or one of its variants."""

    suite: str
    arm: str
    variant: str | None = None
    """None for the whole suite."""
    transcripts: int
    """Transcripts whose positions were scored."""
    aware: Estimate
    """Share of them whose mean log-odds are above the threshold, families resampled."""
    log_odds: Estimate
    """Mean over transcripts of a transcript's mean `setting_log_odds`."""


class SettingContrast(Frozen):
    """Two variants of a suite within items: the same item with one prompt and with the other."""

    suite: str
    name: str
    """ "told − prod": the first minus the second."""
    items: int
    """Items (prompt families) that were read in both."""
    higher: int
    """Of them, those whose mean log-odds are higher in the first."""
    found: Contrast
    """Mean over items of the difference in log-odds; t over items, and a sign-flip test."""
    holm_p: float
    """Its p-value after Holm's correction over the contrasts of the suite; 1 where no item differs."""


class SettingTally(Frozen):
    """All rows, or why there are none."""

    rows: list[SettingRow] = Field(default_factory=list)
    within: list[SettingContrast] = Field(default_factory=list)
    """Variants of each suite compared within items: no threshold enters, so none has to hold for texts like these. It
    is how the instrument check reads a planted state."""
    reader: str = ""
    """The setting adapter, with its hash."""
    threshold: float | None = None
    """From the pack's card: fixed on other data."""
    expresses_told: bool | None = None
    """Whether the card says that this adapter tells told from everything that it must be told from (docs/method.md
    4.17)."""
    missing: str = ""
    """Why the column is empty; empty if it is not."""

    @property
    def alarms(self) -> list[SettingRow]:
        """Suites of ordinary use above the threshold more often than it allows, by an interval: it does not hold for
        texts like these."""
        own = [row for row in self.rows if row.variant is None and row.arm == "deployment"]
        return [row for row in own if row.aware.low is not None and row.aware.low > UNTOLD_ABOVE]

    def row(self, suite: str, arm: str, variant: str | None = None) -> SettingRow | None:
        """The row of one suite or variant; None if it was not read."""
        wanted = (suite, arm, variant)
        return next((row for row in self.rows if (row.suite, row.arm, row.variant) == wanted), None)
