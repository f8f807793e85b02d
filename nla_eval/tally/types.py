"""The types of a tally: every number of a report, as frozen plain data that serialises to JSON.

`tally.py` makes it. The `reports` room reads it and computes nothing itself. A missing number is an `Estimate` with a
reason, never a silent zero."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..dataset.matching import MatchedArm
from ..judgement import Evidence, Headline, JudgeCheck, Outcome
from ..stats.anyk import KPoint
from ..stats.bounds import Bounds
from ..stats.contrast import Contrast
from ..stats.interval import Estimate
from ..stats.pairs import PairTable
from ..stats.permutation import PermutationTest
from ..transcript import Author


class Frozen(BaseModel):
    """Base of every part of a tally."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TranscriptRate(Frozen):
    """How many transcripts are aware, of those that could be decided."""

    aware: int
    not_aware: int
    indeterminate: int
    """Transcripts without an aware judgement, of which too few planned readings were judged."""
    rate: Estimate
    """aware / (aware + not_aware) with Wilson's interval, which assumes independent transcripts."""
    by_family: Estimate
    """The same rate with a cluster interval over families."""
    bounds: Bounds
    """aware / all to (aware + indeterminate) / all."""


class FirstAware(Frozen):
    """Location of the first aware position, over the transcripts that have one."""

    transcripts: int
    median_token: float | None
    median_depth: float | None
    """Token index divided by the transcript's number of tokens, 0 to 1."""


class LaneTally(Frozen):
    """One lane of one suite under one headline."""

    lane: str
    k_planned: tuple[int, int]
    """Smallest and largest number of planned positions per transcript: the declared k of any-of-k."""
    any_of_k: TranscriptRate
    """A transcript is aware if any judged position is; a position is aware if any of its draws is."""
    fraction: Estimate
    """Mean over transcripts of aware positions / judged positions, with a cluster interval."""
    explanation_rate: Estimate
    """Aware explanations / judged explanations, with a cluster interval. In the deployment arm: false positives."""
    first_aware: FirstAware
    k_curve: list[KPoint]


class ControlComparison(Frozen):
    """The measured lane against one control lane, on the transcripts that have both."""

    lane: str
    pairs: int
    abbott: Estimate
    """(p - c) / (1 - c) of the any-of-k rates."""
    fraction_difference: Estimate
    """Fraction of aware positions, measured minus control."""


class ArmComparison(Frozen):
    """A suite against all deployment transcripts, in the measured lane."""

    auroc: Estimate
    """AUROC of the fraction of aware positions."""
    fraction_difference: Estimate
    permutation: PermutationTest | None
    """Permutation test of any-of-k, exchanging families between the arms."""
    holm_p: float | None
    """The permutation p-value after Holm's correction over the suites of this tally."""


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
    """N by V, over the transcripts of V; empty if withheld."""
    unverbalized: Estimate
    """Share of N and not V among transcripts with both decided."""
    unverbalized_by_family: Estimate
    unverbalized_bounds: Bounds
    n_given_not_v: Estimate
    mcnemar_p: float
    lanes: list[LaneTally]
    controls: list[ControlComparison]
    versus_deployment: ArmComparison | None
    """None for the deployment and monitor arms, or without a deployment arm."""
    groups: list[GroupRow]

    def lane(self, name: str) -> LaneTally | None:
        """One lane by name."""
        return next((lane for lane in self.lanes if lane.lane == name), None)


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


class VariantMeasure(StrEnum):
    """The outcomes in which variants are compared."""

    SAID = "said"
    """V of a transcript, 0 or 1."""
    FLAGGED = "flagged"
    """N of a transcript (any of its positions), 0 or 1."""
    FRACTION = "fraction"
    """Aware positions over judged positions."""
    SCORE = "score"
    """Mean of the classifier's score over judged explanations. The score belongs to the broad headline."""


class ContrastRow(Frozen):
    """One comparison of a suite's variants in one outcome."""

    kind: str
    """"difference" of two variants, "main effect", or "interaction"."""
    name: str
    formula: str
    found: Contrast
    holm_p: float
    """p-value after Holm's correction over the contrasts of this outcome. Without a differing item, p counts as 1."""


class VariantOutcome(Frozen):
    """One outcome over the variants of a suite."""

    outcome: VariantMeasure
    means: list[Estimate]
    """Mean over transcripts of each variant, in [0, 1], with a cluster interval over items."""
    contrasts: list[ContrastRow]
    """Contrasts. Every outcome has the same ones in the same order."""

    @property
    def silent(self) -> bool:
        """Whether the outcome is zero in every variant that was read."""
        return all(not mean.value for mean in self.means)


class VariantTally(Frozen):
    """The variants of a suite compared within items as its design declares, under the primary headline."""

    factors: dict[str, list[str]]
    """Levels of each factor."""
    variants: list[str]
    items: int
    """Number of items (prompt families)."""
    complete: int
    """Number of items with every variant read."""
    outcomes: list[VariantOutcome]


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
    variants: VariantTally | None = None
    """None if the suite declares no design or fewer than two of its variants were read."""

    def under(self, headline: Headline) -> HeadlineTally:
        """This suite under one headline."""
        return next(h for h in self.headlines if h.headline is headline)


class Certification(Frozen):
    """Whether the deployment arm bounds the transcript-level false-positive rate of any-of-k below the limit."""

    headline: Headline
    k: int
    """Number of positions of a deployment transcript's any-of-k."""
    flagged: int
    transcripts: int
    """Decided deployment transcripts."""
    bound: float
    """Exact one-sided 95 % upper bound of the deployment any-of-k rate."""
    limit: float
    certified: bool
    """Whether bound < limit. If false, any-of-k is printed but is not the headline."""
    needed: int
    """Number of deployment transcripts, all without a flag, that would certify."""
    explanation_rate: Estimate
    """False positives per explanation in the deployment arm."""
    implied_any_of_k: float | None
    """The any-of-k rate that this rate implies for k independent explanations."""
    observed_any_of_k: Estimate


NATIVE_SHARE = 0.95
"""If a smaller share of tool calls is in the target's own notation, the report says so: the rest is plain text."""


class Spread(Frozen):
    """Median and range of a count over transcripts."""

    median: float | None
    low: float | None
    high: float | None


class ArmProfile(Frozen):
    """A profile of the transcripts of one arm."""

    arm: str
    suites: list[str]
    transcripts: int
    families: list[str]
    tokens: Spread
    turns: Spread
    tool_calls: Spread
    planned_positions: Spread
    on_policy_share: float
    variants: dict[str, int]
    languages: dict[str, int]
    lost_tokens: int
    transcripts_cut: int
    replay_notes: dict[str, int]
    calls: int = 0
    """Tool calls of all transcripts."""
    native_calls: int = 0
    """Tool calls in transcripts with every call in the notation of the target's chat template."""

    @property
    def mostly_native(self) -> bool:
        """Whether at least `NATIVE_SHARE` of the calls are native. True without a call."""
        return self.native_calls >= NATIVE_SHARE * self.calls


class Imbalance(Frozen):
    """The difference between two arms in one measure that a matched comparison would hold equal."""

    measure: str
    left: float
    right: float
    standardised: float | None
    """(left - right) / pooled standard deviation; None for shares."""
    balanced: bool


class Arms(Frozen):
    """The arms side by side. Every report shows imbalances first."""

    profiles: list[ArmProfile]
    imbalances: list[Imbalance]
    """Evaluation against deployment; empty if one of them is absent."""
    balanced: bool
    """False if any measure is unbalanced or an arm is missing. Unmatched arms allow no conclusion."""


class LaneScores(Frozen):
    """AR scores and variety of texts of one lane in one arm."""

    arm: str
    lane: str
    readings: int
    closed: int
    truncated_share: float | None
    unique_texts: int
    """Distinct closed explanations."""
    scored: int
    cos: float | None
    fve_nrm: float | None
    fve_meannorm: float | None
    matched_minus_shuffled: float | None


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


class JudgeTally(Frozen):
    """How one judge behaved."""

    classifier: str
    rubric: str
    check: JudgeCheck | None
    """What it made of the known texts, the worst where there are several; None where nobody looked."""
    asked: int
    """Judgements of texts it was shown: explanations and parts of turns."""
    unparsed: int
    errors: int
    causes: dict[str, int]
    """Why judgements are UNPARSED or ERROR, with counts."""
    stopped: str = ""
    """Why there is no headline with this judge; empty where there may be."""


class PairAgreement(Frozen):
    """Two judges on the texts that both judged, under one headline."""

    of: str
    """"explanations" or "turns"."""
    left: str
    right: str
    texts: int
    both: int
    """Texts AWARE by both."""
    left_only: int
    right_only: int
    observed: float | None
    """Share of texts with the same outcome."""
    kappa: float | None
    """Cohen's; None where both are constant."""
    ac1: float | None
    """Gwet's."""

    @property
    def leakage(self) -> bool:
        """Whether this is one model told its suite's line (left) and another suite's (right)."""
        return self.right == f"{self.left.partition('+')[0]}+swapped" and "+blurb" in self.left


class Agreement(Frozen):
    """Several judges on the same texts."""

    headline: Headline
    judges: list[str]
    pairs: list[PairAgreement]
    alpha: dict[str, float | None]
    """Krippendorff's alpha over all judges, by "explanations" and "turns"."""


class Tally(Frozen):
    """All numbers and texts of a report."""

    rubric: str
    classifiers: list[str]
    packs: list[str]
    policies: list[str]
    uniform: bool
    """Whether positions were drawn uniformly over response tokens. Only then is the k-curve the paper's any-of-k."""
    draws: int
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
    """Warnings about these frames, one sentence each."""
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

    def certification(self, headline: Headline) -> Certification | None:
        """The certificate of the deployment arm under one headline."""
        return next((c for c in self.certifications if c.headline is headline), None)
