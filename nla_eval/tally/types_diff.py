"""Types of a comparison of runs: which rates moved between them, and what else differs.

They are plain, frozen and serialisable: a report prints them and computes nothing."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from ..judgement import Headline
from ..stats.interval import Estimate
from .types_base import Frozen


class Measure(StrEnum):
    """A rate that is compared between two runs: a mean over transcripts."""

    SAID = "said"
    """V: the target says so in a turn that it wrote."""
    PLACES = "places"
    """Aware positions over judged positions, in the measured lane."""
    ANY_OF_K = "any of k"
    """N, both runs brought to the same k and draws by exact expectation (docs/method.md 4.15)."""
    UNVERBALIZED = "measured and not said"
    """N and not V. Only if both runs were read with the same policy and draws."""
    DONOR = "places, donor lane"
    """Aware positions over judged positions, in the donor lane."""
    JUDGED = "readings judged"
    """Judged readings over planned readings of the measured lane: what truncation and errors take away."""


class Change(StrEnum):
    """What a row says, by the interval of the difference and by Holm's correction over all rows of the comparison."""

    UP = "up"
    DOWN = "down"
    UNSURE = "apart, not after Holm"
    """The interval leaves zero out, but the corrected p-value is not below 0.05."""
    NONE = "not told apart"
    OPEN = "no interval"


class Moved(Frozen):
    """One rate of one suite in two runs."""

    suite: str
    arm: str
    first: str
    """Label of the run that the other is compared with."""
    second: str
    measure: Measure
    paired: bool
    """Whether transcripts of both runs are compared one by one."""
    transcripts: tuple[int, int]
    """Transcripts behind `before` and `after`; the same ones if paired."""
    before: Estimate
    """Mean in the first run, with its interval over families."""
    after: Estimate
    difference: Estimate
    """`after - before`."""
    p: float | None
    """Paired: sign-flip test over families. Else: permutation of families between the runs. None without a test."""
    holm_p: float | None = None
    """p after Holm's correction over all rows of the comparison."""
    change: Change
    k: int | None = None
    """Positions per transcript that are compared, for `any of k`."""

    @property
    def clear(self) -> bool:
        """Whether the rate moved, by the interval and after Holm's correction."""
        return self.change in (Change.UP, Change.DOWN)


class Against(StrEnum):
    """What an AUROC sets a suite's transcripts against."""

    ORDINARY = "ordinary chats"
    """The deployment transcripts that the suite is compared with."""
    NO_CUE = "the same without the cue"
    """Told against untold, in a positive control: each request with the planted cue and without it."""


class MovedAuroc(Frozen):
    """One AUROC of one suite in two runs: how well a score tells its transcripts from others."""

    suite: str
    arm: str
    first: str
    second: str
    lane: str
    """What scores a transcript: in lanes of texts the share of k positions that are aware, in others the mean score."""
    readers: tuple[str, str]
    """Who read it in each run; empty for the verbalizer."""
    against: Against
    paired: bool
    """Whether the families of both runs are compared one by one."""
    families: tuple[int, int]
    """Families in both runs: of the suite, and of what it is set against."""
    left_out: tuple[int, int]
    """Families in one run alone, which are not compared."""
    transcripts: tuple[int, int]
    """Transcripts behind `before` and `after`, of both sides."""
    before: Estimate
    """Over the families in both runs if paired, else over all of the run."""
    after: Estimate
    difference: Estimate
    """`after - before`; its interval is withheld, with the reason, unless paired."""
    p: float | None
    """DeLong's test with families for units. None without a test."""
    holm_p: float | None = None
    """p after Holm's correction over all rows of the comparison, rates included."""
    change: Change
    k: int | None = None
    """Positions per transcript that are compared, in lanes of texts."""

    @property
    def clear(self) -> bool:
        """Whether the AUROC moved, by the interval and after Holm's correction."""
        return self.change in (Change.UP, Change.DOWN)


class Pairing(Frozen):
    """Which transcripts of one suite stand in both runs."""

    suite: str
    arm: str
    first: str
    second: str
    by_content: int
    """Transcripts with the same content in both."""
    by_id: int
    """Others with the same id and family: the same prompt, with other words in it or after it."""
    total: tuple[int, int]
    """All transcripts of the suite in each run."""
    paired: bool
    """Whether at least half of the smaller run is shared. Then the shared ones are compared one by one, and no others;
    else all are, as independent samples."""

    @property
    def left_out(self) -> int:
        """Transcripts of either run that are not shared, hence not compared if paired."""
        return sum(self.total) - 2 * (self.by_content + self.by_id)


class RunSuite(Frozen):
    """One suite of one run, as its own report gives it."""

    suite: str
    arm: str
    transcripts: int
    families: int
    k: tuple[int, int]
    """Fewest and most planned positions of a transcript."""
    said: Estimate | None
    """None if the target wrote no turn."""
    places: Estimate | None
    donor: Estimate | None
    any_of_k: Estimate | None


class DiffRun(Frozen):
    """One run."""

    label: str
    """One capital letter: the first run is A."""
    name: str
    """What it was read from, or how it was read."""
    transcripts: int
    readings: int
    suites: list[RunSuite]
    report: str = ""
    """File name of its own report beside the comparison; empty if none was written."""


class Fact(Frozen):
    """One fact of provenance in every run."""

    name: str
    values: list[str]
    """In the order of the runs; "not recorded" where a run does not say."""


class Diff(Frozen):
    """Runs compared: each one after the first with the first."""

    headline: Headline
    rubric: str
    level: float
    runs: list[DiffRun]
    moved: list[Moved]
    pairings: list[Pairing]
    alone: dict[str, list[str]] = Field(default_factory=dict)
    """Suite -> labels of the runs that have it, for suites that are not in every run."""
    differs: list[Fact]
    """Facts that differ, those that decide what a rate means first."""
    alike: list[Fact]
    """Facts that are the same in all runs."""
    notes: list[str] = Field(default_factory=list)
    """What limits the comparison, one sentence each."""
    aurocs: list[MovedAuroc] = Field(default_factory=list)
    aurocs_missing: str = ""
    """Why no AUROC is compared; empty if one is."""

    def between(self, first: str, second: str) -> list[Moved]:
        """The rates of one pair of runs."""
        return [row for row in self.moved if (row.first, row.second) == (first, second)]

    def aurocs_between(self, first: str, second: str) -> list[MovedAuroc]:
        """The AUROCs of one pair of runs."""
        return [row for row in self.aurocs if (row.first, row.second) == (first, second)]
