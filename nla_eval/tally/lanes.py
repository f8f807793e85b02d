"""One lane of one suite under one headline, and the measured lane against a control.

In: units, and the lane's positions where donors are reused. Out: parts of a `Tally`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import polars as pl

from ..judgement import Headline
from ..readings import LANES, Lane
from ..readings.lanes import Needs
from ..stats.abbott import abbott_paired
from ..stats.anyk import implied_any_of_k, k_curve
from ..stats.bootstrap import cluster_mean, cluster_ratio
from ..stats.bounds import rate_bounds
from ..stats.corrected import corrected_fraction
from ..stats.donors import any_of_reused
from ..stats.first_aware import first_aware
from ..stats.interval import Estimate, Resampling
from ..stats.paired import paired_difference
from ..stats.rogan_gladen import Calibration
from ..stats.two_way import two_way_mean
from ..stats.wilson import wilson
from .frames import column
from .options import TallyOptions
from .types_lanes import ControlComparison, FirstAware, LaneTally, TranscriptRate
from .units import Cluster, Unit, Verdict, unit_fractions
from .verdicts import Verdicts


@dataclass(frozen=True)
class Slots:
    """Judged slots of admitted transcripts in a lane that borrows activations. All lists are aligned."""

    flags: Sequence[bool]
    transcripts: Sequence[int]
    donors: Sequence[str]
    families: Sequence[Cluster]
    weights: Sequence[float]
    """What a slot stands for: its channel's share of tokens over that of slots, under a stratified policy; else 1."""

    @classmethod
    def of(cls, found: Verdicts, lane: str, headline: Headline, units: Sequence[Unit]) -> Slots | None:
        """Slots of some transcripts; None where the lane borrows from no single transcript or nobody recorded it."""
        if lane not in list(Lane) or LANES[Lane(lane)].needs is not Needs.DONORS:
            return None
        admitted = {unit.t: unit for unit in units if unit.admitted}
        rows = found.positions.filter(
            (pl.col("lane") == lane)
            & (pl.col("judged_r") > 0)
            & pl.col("donor").is_not_null()
            & pl.col("t").is_in(sorted(admitted))
        )
        if rows.is_empty():
            return None
        numbers = rows["t"].to_list()
        weights = {t: own for t, unit in admitted.items() if unit.channel_tokens and (own := unit.weights)}
        return cls(
            flags=(rows[column(headline)] > 0).to_list(),
            transcripts=numbers,
            donors=rows["donor"].to_list(),
            families=[admitted[t].cluster for t in numbers],
            weights=[
                weights[t].get(channel, 0.0) if t in weights else 1.0
                for t, channel in zip(numbers, rows["channel"], strict=True)
            ],
        )

    @property
    def distinct(self) -> int:
        """Transcripts that lent an activation."""
        return len(set(self.donors))

    def fraction(self, how: Resampling) -> Estimate:
        """Share of flagged slots, over families and donors."""
        worth = [weight * flag for flag, weight in zip(self.flags, self.weights, strict=True)]
        return two_way_mean(worth, self.families, self.donors, how)

    def any_of_k(self, how: Resampling) -> Estimate:
        """Share of transcripts with a flagged slot, over families and donors."""
        return any_of_reused(self.flags, self.transcripts, self.donors, self.families, how)


def transcript_rate(verdicts: Sequence[Verdict], clusters: Sequence[Cluster], how: Resampling) -> TranscriptRate:
    """How many transcripts are aware, of those admitted."""
    kept = [(verdict.counted, cluster) for verdict, cluster in zip(verdicts, clusters, strict=True) if verdict.admitted]
    aware, total = sum(state is True for state, _ in kept), len(kept)
    incomplete = sum(v.state is True and not v.admitted for v in verdicts)
    undecided = len(verdicts) - total - incomplete
    return TranscriptRate(
        aware=aware,
        not_aware=total - aware,
        indeterminate=undecided,
        aware_incomplete=incomplete,
        rate=wilson(aware, total, how.level),
        by_family=cluster_mean([float(bool(state)) for state, _ in kept], [cluster for _, cluster in kept], how),
        bounds=rate_bounds(aware + incomplete, undecided, len(verdicts)),
    )


def lane_tally(
    lane: str, units: Sequence[Unit], slots: Slots | None, headline: Headline, options: TallyOptions
) -> LaneTally:
    """Every number of one lane."""
    how = options.how
    admitted = [u for u in units if u.admitted and u.judged_positions]
    families = [u.cluster for u in admitted]
    fractions, clusters = unit_fractions(units)
    judged = [u for u in units if u.judged_readings]
    planned = [u.planned for u in units if u.planned]
    draws = max((u.draws for u in units), default=1)
    rate = transcript_rate(units, [u.cluster for u in units], how)
    per_explanation = cluster_ratio(
        [u.aware_readings for u in judged], [u.judged_readings for u in judged], [u.cluster for u in judged], how
    )
    counts = options.calibration.get(("explanation", headline))
    labelled = None if counts is None else Calibration(
        counts.hits, counts.positives, counts.negatives - counts.false, counts.negatives
    )  # fmt: skip
    k = max(planned, default=0)
    followed = headline is options.primary and lane == Lane.MEASURED
    return LaneTally(
        lane=lane,
        k_planned=(min(planned, default=0), k),
        draws=draws,
        admitted=len(admitted),
        donors=None if slots is None else slots.distinct,
        any_of_k=rate if slots is None else rate.model_copy(update={"by_family": slots.any_of_k(how)}),
        fraction=cluster_mean(fractions, clusters, how) if slots is None else slots.fraction(how),
        corrected_fraction=None if labelled is None else corrected_fraction(fractions, clusters, labelled, how.level),
        explanation_rate=per_explanation,
        implied_any_of_k=None if per_explanation.value is None else implied_any_of_k(per_explanation.value, k * draws),
        first_aware=_first(units),
        unaware=first_aware(*_times(admitted), families, how) if followed else None,
        k_curve=k_curve([(u.aware_positions, u.judged_positions) for u in admitted]),
    )


def _first(units: Sequence[Unit]) -> FirstAware:
    first = [(u.first_aware, u.first_aware / u.tokens) for u in units if u.first_aware is not None and u.tokens]
    return FirstAware(
        transcripts=len(first),
        median_token=median(token for token, _ in first) if first else None,
        median_depth=median(depth for _, depth in first) if first else None,
    )


def _times(units: Sequence[Unit]) -> tuple[list[float], list[bool]]:
    """The first aware position of each transcript, or its last judged one; and which of the two."""
    times = [u.last_judged if u.first_aware is None else u.first_aware for u in units]
    return [float(time or 0) for time in times], [u.first_aware is not None for u in units]


def control_comparison(
    lane: str, measured: Sequence[Unit], control: Sequence[Unit], slots: Slots | None, how: Resampling
) -> ControlComparison:
    """The measured lane against a control, on the transcripts admitted in both."""
    both = [(m, c) for m, c in zip(measured, control, strict=True) if m.admitted and c.admitted]
    families = [m.cluster for m, _ in both]
    weighed = [(m, c) for m, c in both if m.fraction is not None and c.fraction is not None]
    fractions = paired_difference(
        [m.fraction or 0.0 for m, _ in weighed],
        [c.fraction or 0.0 for _, c in weighed],
        [m.cluster for m, _ in weighed],
        how,
    )
    return ControlComparison(
        lane=lane,
        pairs=len(both),
        abbott=abbott_paired([bool(m.state) for m, _ in both], [bool(c.state) for _, c in both], families, how),
        fraction_difference=fractions if slots is None else _no_narrower(fractions, slots.fraction(how)),
    )


def _no_narrower(difference: Estimate, control: Estimate) -> Estimate:
    """The difference, at least as wide as the control's own interval: only that one knows of shared donors."""
    if difference.value is None or difference.low is None or difference.high is None:
        return difference
    if control.value is None or control.low is None or control.high is None:
        return replace(difference, low=None, high=None, withheld=control.withheld)
    low = min(difference.low, difference.value - (control.high - control.value))
    high = max(difference.high, difference.value + (control.value - control.low))
    return replace(difference, low=max(-1.0, low), high=min(1.0, high), method=f"{difference.method}; donors counted")
