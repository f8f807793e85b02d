"""The types of a tally: every number of a report, as frozen plain data that serialises to JSON.

`tally.py` makes it. The `reports` room reads it and computes nothing itself. A missing number is an `Estimate` with a
reason, never a silent zero."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ..dataset.matching import MatchedArm
from ..judgement import Headline, Outcome
from ..judging.error_rates import ErrorRates
from ..stats.bounds import Bounds
from ..stats.clustered_pairs import ClusteredPairs
from ..stats.interval import Estimate
from ..stats.pairs import PairTable
from ..stats.power import Detectable
from ..transcript import Author
from .browsed import Browse
from .identity import Identity
from .types_arms import NATIVE_SHARE, ArmProfile, Arms, Certification, Imbalance, Spread
from .types_base import Frozen
from .types_control import Beyond, ControlKind, ControlRow, ControlTally, OrdinaryRow
from .types_judges import Agreement, JudgeTally, PairAgreement
from .types_lanes import (
    ArmComparison,
    ControlComparison,
    FirstAware,
    LaneScores,
    LaneState,
    LaneTally,
    TranscriptRate,
    printed,
)
from .types_readers import ReadersTally
from .types_sensitivity import Sensitivity
from .types_setting import SettingRow, SettingTally
from .types_shown import ShownReading, ShownTurn
from .types_variants import ContrastRow, VariantMeasure, VariantOutcome, VariantTally
from .where import Where

__all__ = [
    "NATIVE_SHARE",
    "Agreement",
    "ArmComparison",
    "ArmProfile",
    "Arms",
    "Beyond",
    "Certification",
    "ContrastRow",
    "ControlComparison",
    "ControlKind",
    "ControlRow",
    "ControlTally",
    "FirstAware",
    "Frozen",
    "GroupRow",
    "HeadlineTally",
    "Identity",
    "Imbalance",
    "JudgeTally",
    "LaneScores",
    "LaneState",
    "LaneTally",
    "OrdinaryRow",
    "OutcomeCounts",
    "PairAgreement",
    "SettingRow",
    "SettingTally",
    "ShownReading",
    "ShownTurn",
    "Spread",
    "SuiteTally",
    "Tally",
    "TranscriptRate",
    "VariantMeasure",
    "VariantOutcome",
    "VariantTally",
]


class GroupRow(Frozen):
    """The pair table within one group of a suite's transcripts, e.g. the runs in which the model declined."""

    kind: str
    """"outcome"; "variant"; or "words" (whether the target wrote the last turn), if a suite has both."""
    group: str
    transcripts: int
    measured: Estimate
    verbalized: Estimate
    n_given_not_v: Estimate


class HeadlineTally(Frozen):
    """A suite under one definition of awareness, which V and N share."""

    headline: Headline
    verbalized: TranscriptRate
    """V, over transcripts in which the target wrote an assistant turn."""
    recorded: TranscriptRate
    """Recorded words that say so, over transcripts with assistant turns that the target did not write. Never V."""
    pairs: PairTable
    """N by V, over the transcripts of V that are admitted in both; empty if withheld."""
    unverbalized: Estimate
    """Share of N and not V among the transcripts of `pairs`."""
    unverbalized_by_family: Estimate
    unverbalized_bounds: Bounds
    n_given_not_v: Estimate
    donor_pairs: PairTable | None = None
    """The donor lane by V, over the same transcripts; None if the donor lane was not judged."""
    donor_unverbalized: Estimate | None = None
    """Share of "donor and not V": what "N and not V" shows where nothing is there to be verbalized."""
    donor_unverbalized_by_family: Estimate | None = None
    withheld: str = ""
    """Why any-of-k and "unverbalized" are no headline under this definition; empty if certified."""
    mcnemar_p: float
    """p-value of `paired_test`; 1 without a family that differs."""
    paired_test: ClusteredPairs | None = None
    """Do N and V flag equally many transcripts? Families are exchanged whole; McNemar's exact test where every family
    is one transcript."""
    n_errors: ErrorRates | None = None
    """How often N's classifier is wrong on labelled explanations; None where it was not measured."""
    v_errors: ErrorRates | None = None
    """The same of V's classifier, on labelled turns."""
    lanes: list[LaneTally]
    """The measured lane, and the controls with a judged reading (`SuiteTally.lane_states` names the others)."""
    controls: list[ControlComparison]
    versus_deployment: ArmComparison | None
    """None for the deployment and monitor arms, or without a deployment arm."""
    groups: list[GroupRow]

    @property
    def unverbalized_printed(self) -> Estimate:
        """`unverbalized` with the interval that reports print."""
        return printed(self.unverbalized, self.unverbalized_by_family, self.pairs.decided)

    @property
    def donor_unverbalized_printed(self) -> Estimate | None:
        """`donor_unverbalized` with the interval that reports print."""
        own, family, pairs = self.donor_unverbalized, self.donor_unverbalized_by_family, self.donor_pairs
        return own if own is None or family is None or pairs is None else printed(own, family, pairs.decided)

    def lane(self, name: str) -> LaneTally | None:
        """One lane by name; None if it was not judged."""
        return next((lane for lane in self.lanes if lane.lane == name), None)

    def control(self, name: str) -> ControlComparison | None:
        """The measured lane against one control lane by name; None if that was not judged."""
        return next((c for c in self.controls if c.lane == name), None)


class OutcomeCounts(Frozen):
    """Outcomes of all planned judgements of one lane, over one denominator."""

    of: str
    """A lane's name, "turns" (of the target), or "recorded words" (turns that the target did not write)."""
    planned: int
    """Planned positions x draws; for turns, the parts of assistant messages to judge."""
    counts: dict[Outcome, int]
    """Counts of all seven outcomes, under the primary headline."""
    missing: int
    """Planned but never read."""


class SuiteTally(Frozen):
    """One suite in one arm."""

    suite: str
    arm: str
    transcripts: int
    duplicates: int
    """Transcripts left out because they repeat the content of another one of the suite."""
    families: list[str]
    headlines: list[HeadlineTally]
    denominators: list[OutcomeCounts]
    words: dict[Author, int] = Field(default_factory=dict)
    """Number of assistant turns by author, each turn of a run once."""
    pairs_withheld: str = ""
    """Why N and V of this suite are not paired; empty if they are."""
    lane_states: dict[str, LaneState] = Field(default_factory=dict)
    """Whether each lane was not read, not judged, or judged in this suite."""
    compared_with: list[str] = Field(default_factory=list)
    """Deployment suites that this suite is compared with: those drawn to match it, else all."""
    detectable: Detectable | None = None
    """The smallest any-of-k rate that a run of this size tells from zero with a chance of 80 %, if verdicts of a family
    correlate by 0.1. None without an admitted transcript."""
    detectable_alike: Detectable | None = None
    """The same if all transcripts of a family get one verdict. None where every family has one transcript."""
    variants: VariantTally | None = None
    """None if the suite declares no design or fewer than two of its variants were read."""

    @property
    def least(self) -> str | None:
        """The smallest rate told from zero in words; None where no rate would do."""
        rates = [found.rate for found in (self.detectable, self.detectable_alike) if found]
        if not rates or rates[0] is None:
            return None
        alike = f" ({100 * rates[1]:.1f} % if a family's transcripts are all alike)" if rates[1:] and rates[1] else ""
        return f"{self.suite} {100 * rates[0]:.1f} %{alike}"

    def under(self, headline: Headline) -> HeadlineTally:
        """This suite under one headline."""
        return next(h for h in self.headlines if h.headline is headline)


class Tally(Frozen):
    """All numbers and texts of a report."""

    rubric: str
    classifiers: list[str]
    packs: list[str]
    policies: list[str]
    identity: Identity | None = None
    """What everything here was read with: only inputs that agree in it are tallied together. None for bare frames."""
    uniform: bool
    """Whether positions were drawn uniformly over response tokens. Only then is the k-curve the paper's any-of-k."""
    draws: int
    """Most draws per position of a suite; each lane has its own in `LaneTally.draws`."""
    primary: Headline
    definitions: dict[Headline, list[str]]
    """Labels that count as aware under each headline."""
    judged_share: float
    level: float
    arms: Arms
    suites: list[SuiteTally]
    certifications: list[Certification]
    """One per headline; empty without a deployment arm."""
    scores: list[LaneScores]
    flagged: list[ShownReading]
    flagged_total: int
    unflagged: list[ShownReading]
    """A seeded sample of the measured lane."""
    said: list[ShownTurn]
    said_total: int
    recorded: list[ShownTurn] = Field(default_factory=list)
    """Recorded words that say so."""
    recorded_total: int = 0
    matched: list[MatchedArm] = Field(default_factory=list)
    """How deployment arms were matched to a suite; empty if none was."""
    notes: list[str] = Field(default_factory=list)
    """Warnings about these frames, one sentence each. A truncation that differs between the arms comes first."""
    trained_on: dict[str, int] = Field(default_factory=dict)
    """Transcripts left out because the pack was trained on them, by suite."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Origin of the frames: inputs, classifier, rubric, versions, command."""
    pack_card: dict[str, Any] | None = None
    """The card of the pack that made the readings, where it is at hand."""
    judges: list[JudgeTally] = Field(default_factory=list)
    """How the judges of explanations and turns behaved."""
    headline_stopped: str = ""
    """Why no rate of this tally is a headline: a judge that failed its checks. Empty where none did."""
    agreement: Agreement | None = None
    """Several judges on the texts of this tally; None where there is one."""
    setting: SettingTally | None = None
    """What the pack's setting adapter read: a column of its own, no part of N. None for bare frames."""
    control: ControlTally | None = None
    """The instrument check: the positive control, read by that column. None where none was given."""
    where: Where | None = None
    """Where in transcripts awareness is found, under the primary headline."""
    readers: ReadersTally | None = None
    """N beside other readers of the same transcripts (texts from the prefix, probe, answers); None if none was read."""
    sensitivity: Sensitivity | None = None
    """The headline under other choices; None if it was not asked for."""
    browse: Browse | None = Field(default=None, exclude=True, repr=False)
    """The transcripts that a report can open. They are no numbers and stay out of a tally's JSON."""

    def certification(self, headline: Headline) -> Certification | None:
        """The certificate of the deployment arm under one headline."""
        return next((c for c in self.certifications if c.headline is headline), None)
