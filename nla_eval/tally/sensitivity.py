"""Sensitivity: does the headline's conclusion hang on a choice that somebody had to make?

In: frames, as they were read and judged, one set per way of reading and per judge. Out: `Sensitivity`, the any-of-k
rate of every suite under other k, channels, draws, rubric headlines, judges, AR gates, and other policies, temperatures
and layers where such readings are given. A row changes one choice and keeps the rest. Both sides of a comparison have
the same k and draws, by exact expectation (docs/method.md 4.15); positions count alike, whatever stratum they are from.
It knows no file and no report."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from ..judgement import Headline
from ..readings import KEY, Lane, StopReason
from ..stats.bootstrap import arm_difference, cluster_mean
from ..stats.common_k import common_k, expected_any_of_k
from ..stats.interval import Estimate, Resampling, withheld
from ..stats.paired import paired_difference
from ..transcript import Arm
from .frames import Definitions, Frames, aware_columns, column
from .trained_on import without_trained_on
from .types_sensitivity import Axis, Conclusion, Reference, Sensitivity, SensitivityRow, SuiteSensitivity

KS = (1, 2, 4, 8, 16, 32, 50, 100, 200, 300)
GATES = {"cos": "cos", "fve": "fve_meannorm", "matched minus shuffled": "matched_minus_shuffled"}
"""AR scores that readings are gated on, and their columns."""
QUANTILES = (0.25, 0.5, 0.75)
CHANNELS = {"thinking": "thinking", "text": "response", "tool call": "tool_call"}
"""Parts of assistant turns, and the channels of their tokens."""
FACTS = {
    "policy": Axis.POLICY,
    "temperature": Axis.TEMPERATURE,
    "layer": Axis.LAYER,
    "pack": Axis.PACK,
    "seed": Axis.SEED,
    "window": Axis.WINDOW,
}
"""Facts by which sets differ, and their axis. A pack has one layer, so a pack of another layer is of that axis."""
NOT_INCLUDED = ["steering of the target itself (docs/method.md 4.11) is not part of this page yet"]

_Flags = dict[Hashable, list[bool | None]]
"""Flags of the draws of each position."""
_Cluster = tuple[str, str]


@dataclass(frozen=True)
class ReadSet:
    """Transcripts read in one way and judged by one judge."""

    frames: Frames
    definitions: Definitions
    judge: str
    """Classifier and rubric."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """How it was read, by the names in `FACTS`."""

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Readings with verdicts: transcript, lane, position, draw, channel, AR scores, judged, aware columns."""
        frames = without_trained_on(self.frames)[0]
        verdict = frames.judgements.select(*KEY, "outcome", "labels").unique(KEY, keep="first", maintain_order=True)
        read = frames.readings.filter(pl.col("position") >= 0).unique(KEY, keep="first", maintain_order=True)
        joined = read.join(verdict, on=list(KEY), how="left")
        closed = pl.col("stop") == StopReason.CLOSED.value
        known = joined.with_columns(outcome=pl.when(closed).then(pl.col("outcome")))
        return aware_columns(known, self.definitions).sort(KEY)

    @cached_property
    def transcripts(self) -> pl.DataFrame:
        """Transcripts without repeats and without those that the pack was trained on."""
        frames = without_trained_on(self.frames)[0]
        keys = ["arm", "suite", "transcript_digest"]
        return frames.transcripts.sort(*keys, "transcript_id").unique(keys, keep="first", maintain_order=True)

    @property
    def draws(self) -> int:
        """Draws per position of the measured lane."""
        drawn = self.rows.filter(pl.col("lane") == Lane.MEASURED.value)["draw"].n_unique()
        return max(1, drawn)


@dataclass(frozen=True)
class _Counted:
    """Flags of one set under one headline, of the readings that are kept."""

    of: ReadSet
    headline: Headline
    keep: pl.Expr = field(default_factory=lambda: pl.lit(True))

    @cached_property
    def flags(self) -> dict[str, dict[str, _Flags]]:
        """By lane, transcript and position."""
        found: dict[str, dict[str, _Flags]] = {}
        verdict = pl.when("judged").then(pl.col(column(self.headline)))
        rows = self.of.rows.filter(self.keep).group_by("lane", "transcript_digest", "position").agg(verdict)
        for lane, digest, position, flags in rows.iter_rows():
            found.setdefault(lane, {}).setdefault(digest, {})[position] = flags
        return found


@dataclass(frozen=True)
class _Choice:
    """One way to count."""

    axis: Axis
    setting: str
    counted: _Counted
    k: int
    """At most so many positions."""
    draws: int

    def side(self, arm: str, suite: str | None, lane: str) -> _Side:
        """The transcripts of a suite, or of a whole arm, in one lane."""
        rows = self.counted.of.transcripts.filter(pl.col("arm") == arm)
        rows = rows if suite is None else rows.filter(pl.col("suite") == suite)
        flags = self.counted.flags.get(lane, {})
        table = rows.select("suite", "family", "transcript_digest").iter_rows()
        return _Side([(digest, (name, family), flags.get(digest, {})) for name, family, digest in table], self.draws)


@dataclass(frozen=True)
class _Side:
    """One side of a comparison."""

    transcripts: Sequence[tuple[str, _Cluster, _Flags]]
    draws: int

    @property
    def k(self) -> int:
        """Positions that nine tenths of the transcripts can supply."""
        return common_k([flags for _, _, flags in self.transcripts], self.draws)

    def values(self, k: int) -> dict[str, tuple[float, _Cluster]]:
        """Expected any-of-k and cluster of each transcript that has k positions, by digest."""
        found = {}
        for digest, cluster, flags in self.transcripts if k else ():
            value = expected_any_of_k(flags, k, self.draws)
            if value is not None:
                found[digest] = (value, cluster)
        return found


def sensitivity(sets: Sequence[ReadSet], headline: Headline, how: Resampling | None = None) -> Sensitivity:
    """The headline of the first set under other choices.

    Args:
        sets: The set of the headline, then others: of other judges, policies, temperatures, layers.
        headline: The definition of awareness that the report leads with.
        how: Resamples, seed and level of every interval.
    """
    how = how or Resampling()
    base = sets[0]
    whole = _Choice(Axis.HEADLINE, "as reported", _Counted(base, headline), max(KS), base.draws)
    named = base.transcripts.filter(pl.col("arm") != Arm.DEPLOYMENT.value).select("arm", "suite").unique()
    first = [_first(whole, arm, suite, how) for arm, suite in named.sort("arm", "suite").iter_rows()]
    rows: list[list[SensitivityRow]] = [[] for _ in first]
    for choice in _choices(whole, sets, max((suite.base.k for suite in first), default=0)):
        for suite, found in zip(first, rows, strict=True):
            found.extend(_again(choice, suite, how))
    suites = [suite.model_copy(update={"rows": found}) for suite, found in zip(first, rows, strict=True)]
    varied = {row.axis for found in rows for row in found}
    return Sensitivity(
        headline=headline,
        judge=base.judge,
        base={**base.facts, "draws": str(base.draws)},
        suites=suites,
        not_varied=[f"{axis.value}: {mend}" for axis, mend in _MENDS.items() if axis not in varied],
        not_included=list(NOT_INCLUDED),
    )


_MENDS = {
    Axis.POLICY: "read again with --positions into another store and give both",
    Axis.TEMPERATURE: "read again with --temperature into another store and give both",
    Axis.DRAWS: "read with --draws 2 or more",
    Axis.CHANNEL: "the readings have no position in thinking, text or tool calls",
    Axis.JUDGE: "score the logs with several judges, or name several with --classifier",
    Axis.GATE: "the readings have no AR scores",
    Axis.LAYER: "read with a pack of another layer into another store and give both",
}


def _first(whole: _Choice, arm: str, suite: str, how: Resampling) -> SuiteSensitivity:
    against = _reference(whole, arm, suite)
    return SuiteSensitivity(suite=suite, arm=arm, against=against, base=_row(whole, arm, suite, against, how), rows=[])


def _again(choice: _Choice, suite: SuiteSensitivity, how: Resampling) -> Iterator[SensitivityRow]:
    """The suite's row under a choice; none where the choice says nothing of it."""
    base = suite.base
    if choice.axis is Axis.K and choice.k >= base.k:
        return
    row = _row(replace(choice, k=min(choice.k, base.k)), suite.arm, suite.suite, suite.against, how)
    if row.transcripts or choice.axis not in (Axis.CHANNEL, Axis.GATE):
        flips = Conclusion.OPEN not in (row.conclusion, base.conclusion) and row.conclusion != base.conclusion
        yield row.model_copy(update={"flips": flips})


def _choices(base: _Choice, sets: Sequence[ReadSet], most: int) -> Iterator[_Choice]:
    """The base with one choice changed, axis by axis; `most` is the largest k of any suite."""
    read, headline = base.counted.of, base.counted.headline
    yield from (replace(base, axis=Axis.K, setting=f"k = {k}", k=k) for k in KS if k < most)
    few = (draws for draws in (1, 2, 4, 8) if draws < base.draws)
    yield from (replace(base, axis=Axis.DRAWS, setting=f"draws = {draws}", draws=draws) for draws in few)
    for name, channel in CHANNELS.items():
        kept = _Counted(read, headline, pl.col("channel") == channel)
        yield replace(base, axis=Axis.CHANNEL, setting=f"{name} alone", counted=kept)
    for other in Headline:
        if other is not headline:
            yield replace(base, axis=Axis.RUBRIC, setting=other.value, counted=_Counted(read, other))
    for setting, gate in _gates(read):
        yield replace(base, axis=Axis.GATE, setting=setting, counted=_Counted(read, headline, gate))
    for elsewhere in sets[1:]:
        axis, setting = _differs(read, elsewhere)
        counted = _Counted(elsewhere, headline)
        yield replace(base, axis=axis, setting=setting, counted=counted, draws=min(base.draws, elsewhere.draws))


def _gates(read: ReadSet) -> Iterator[tuple[str, pl.Expr]]:
    """A gate for each AR score and quantile of the measured lane, in words and as what it keeps."""
    measured = read.rows.filter(pl.col("lane") == Lane.MEASURED.value)
    for name, score in GATES.items():
        values = measured.filter(pl.col(score).is_finite())[score]
        for share in QUANTILES:
            threshold = values.quantile(share, "lower")
            if threshold is not None:
                yield f"{name} >= {threshold:.2f} (best {1 - share:.0%})", pl.col(score) >= threshold


def _differs(base: ReadSet, other: ReadSet) -> tuple[Axis, str]:
    """The axis on which two sets differ, and the other's value."""
    found = [name for name in FACTS if base.facts.get(name) != other.facts.get(name)]
    if "layer" in found and "pack" in found:
        found.remove("pack")
    axes = [FACTS[name] for name in found]
    values = [f"{name} {other.facts.get(name, 'not recorded')}" for name in found]
    if base.judge != other.judge:
        axes, values = [*axes, Axis.JUDGE], [*values, other.judge]
    return (axes[0] if len(axes) == 1 else Axis.SEVERAL), ", ".join(values) or "the same settings"


def _reference(choice: _Choice, arm: str, suite: str) -> Reference:
    if choice.side(Arm.DEPLOYMENT.value, None, Lane.MEASURED.value).k:
        return Reference.DEPLOYMENT
    return Reference.DONOR if choice.side(arm, suite, Lane.DONOR.value).k else Reference.NONE


def _row(choice: _Choice, arm: str, suite: str, against: Reference, how: Resampling) -> SensitivityRow:
    own = choice.side(arm, suite, Lane.MEASURED.value)
    other = {
        Reference.DEPLOYMENT: lambda: choice.side(Arm.DEPLOYMENT.value, None, Lane.MEASURED.value),
        Reference.DONOR: lambda: choice.side(arm, suite, Lane.DONOR.value),
        Reference.NONE: lambda: _Side([], choice.draws),
    }[against]()
    k = min(choice.k, own.k, *([] if against is Reference.NONE else [other.k]))
    ours, theirs = own.values(k), other.values(k)
    rate, reference = _mean(ours, how), _mean(theirs, how)
    difference = _difference(ours, theirs, against, how)
    return SensitivityRow(
        axis=choice.axis,
        setting=choice.setting,
        k=k,
        draws=choice.draws,
        transcripts=len(ours),
        reference_transcripts=len(theirs),
        rate=rate,
        reference=reference,
        difference=difference,
        conclusion=_conclusion(difference, rate, reference),
    )


def _mean(values: Mapping[str, tuple[float, _Cluster]], how: Resampling) -> Estimate:
    return cluster_mean([value for value, _ in values.values()], [cluster for _, cluster in values.values()], how)


def _difference(
    ours: Mapping[str, tuple[float, _Cluster]],
    theirs: Mapping[str, tuple[float, _Cluster]],
    against: Reference,
    how: Resampling,
) -> Estimate:
    if against is Reference.NONE:
        return withheld(None, 0, "cluster", "neither a deployment arm nor a donor lane was read")
    if against is Reference.DONOR:
        both = sorted(ours.keys() & theirs.keys())
        clusters = [ours[digest][1] for digest in both]
        return paired_difference([ours[d][0] for d in both], [theirs[d][0] for d in both], clusters, how)
    a, b = ([value for value, _ in side.values()] for side in (ours, theirs))
    clusters_a, clusters_b = ([cluster for _, cluster in side.values()] for side in (ours, theirs))
    return arm_difference(a, clusters_a, b, clusters_b, how)


def _conclusion(difference: Estimate, rate: Estimate, reference: Estimate) -> Conclusion:
    """By the interval of the difference. Where both sides are constant it has none: then by whether the exact bounds of
    the two rates leave a gap, which takes more evidence."""
    low, high = difference.low, difference.high
    if low is None or high is None:
        ends = (rate.low, rate.high, reference.low, reference.high)
        if difference.value is None or any(end is None for end in ends):
            return Conclusion.OPEN
        least, most, least_other, most_other = (end for end in ends if end is not None)
        low, high = least - most_other, most - least_other
    if low > 0:
        return Conclusion.MORE
    return Conclusion.LESS if high < 0 else Conclusion.NOT_TOLD
