"""Types of the sensitivity page: the headline again under other choices, and whether its conclusion stays.

They are plain, frozen and serialisable: a report prints them and computes nothing."""

from __future__ import annotations

from enum import StrEnum

from ..judgement import Headline
from ..stats.interval import Estimate
from .types_base import Frozen


class Axis(StrEnum):
    """The choice that differs in a row."""

    HEADLINE = "headline"
    """None: the headline itself."""
    K = "k"
    POLICY = "policy"
    CHANNEL = "channel"
    TEMPERATURE = "temperature"
    DRAWS = "draws"
    RUBRIC = "rubric headline"
    JUDGE = "judge"
    GATE = "AR gate"
    LAYER = "layer"
    PACK = "pack"
    SEED = "seed"
    WINDOW = "window"
    SEVERAL = "several"
    """An input that differs in more than one of them: its row shows no cause."""


class Reference(StrEnum):
    """What a rate is compared with."""

    DEPLOYMENT = "deployment arm"
    DONOR = "donor lane"
    """On the same transcripts, where no deployment arm was read."""
    NONE = "nothing"


class Conclusion(StrEnum):
    """What a row says of a suite, by the interval of the difference from its reference."""

    MORE = "more"
    LESS = "less"
    NOT_TOLD = "not told apart"
    OPEN = "open"
    """No reference, or too few families for an interval."""


class SensitivityRow(Frozen):
    """A suite's any-of-k rate under one choice."""

    axis: Axis
    setting: str
    """The choice in words, as "k = 8"."""
    k: int
    """Positions per transcript: what both sides can supply, at most the headline's. 0 where they supply none."""
    draws: int
    """Draws per position."""
    transcripts: int
    """Transcripts of the suite with so many judged positions, whatever their verdict."""
    reference_transcripts: int
    rate: Estimate
    """Expected any-of-k with its interval over families."""
    reference: Estimate
    """The same of the reference."""
    difference: Estimate
    conclusion: Conclusion
    flips: bool = False
    """Whether the conclusion is another than the headline's. An open one does not flip."""


class SuiteSensitivity(Frozen):
    """One suite of the evaluation or monitor arm."""

    suite: str
    arm: str
    against: Reference
    base: SensitivityRow
    """The headline itself."""
    rows: list[SensitivityRow]

    @property
    def flips(self) -> list[SensitivityRow]:
        """Rows under which the conclusion is another one."""
        return [row for row in self.rows if row.flips]


class Sensitivity(Frozen):
    """The headline under other choices."""

    headline: Headline
    judge: str
    """Classifier and rubric of the headline."""
    base: dict[str, str]
    """How the readings of the headline were made: policy, temperature, layer and the like."""
    suites: list[SuiteSensitivity]
    not_varied: list[str]
    """Choices of which the inputs hold one value only, each with what to add."""
    not_included: list[str]
    """What no row can show."""
