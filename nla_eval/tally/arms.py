"""The arms of a tally: profiles of their transcripts, the certificate of the deployment arm, AR scores by lane.

In: joined verdicts and units. Out: the parts of a `Tally` about whole arms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

import polars as pl

from ..judgement import Headline
from ..readings import StopReason
from ..replay.types import FOREIGN_CALLS
from ..stats.anyk import implied_any_of_k
from ..stats.balance import UNBALANCED, pooled_deviation, standardised_difference
from ..stats.bootstrap import cluster_ratio
from ..stats.interval import Resampling
from ..stats.wilson import wilson
from ..stats.zero import units_needed, upper_bound
from ..transcript import Arm
from .frames import Unit, Verdicts
from .types import ArmProfile, Arms, Certification, Imbalance, LaneScores, Spread

SHARE_LIMIT = 0.1
"""Shares that differ by more than this count as unbalanced."""
_SPREADS = ("tokens", "turns", "tool_calls", "planned_positions")


def arms_of(transcripts: pl.DataFrame) -> Arms:
    """Profiles of all arms, and the differences between evaluation and deployment."""
    by_arm = {arm: transcripts.filter(pl.col("arm") == arm) for arm in sorted(set(transcripts["arm"]), reverse=True)}
    by_arm = {arm: by_arm[arm] for arm in sorted(by_arm, key=lambda a: (a != Arm.EVALUATION, a))}
    profiles = [_profile(arm, rows) for arm, rows in by_arm.items()]
    pair = [by_arm.get(Arm.EVALUATION.value), by_arm.get(Arm.DEPLOYMENT.value)]
    if pair[0] is None or pair[1] is None:
        return Arms(profiles=profiles, imbalances=[], balanced=False)
    imbalances = [_mean_imbalance(name, pair[0][name].to_list(), pair[1][name].to_list()) for name in _SPREADS]
    shares = [fmean(rows["on_policy"].cast(pl.Float64).to_list()) for rows in (pair[0], pair[1])]
    imbalances.append(
        Imbalance(
            measure="on_policy_share",
            left=shares[0],
            right=shares[1],
            standardised=None,
            balanced=abs(shares[0] - shares[1]) <= SHARE_LIMIT,
        )
    )
    return Arms(profiles=profiles, imbalances=imbalances, balanced=all(i.balanced for i in imbalances))


def certify(
    units: Sequence[Unit], headline: Headline, k: int, limit: float, judged_share: float, how: Resampling
) -> Certification | None:
    """The bound on transcript-level false positives, from the measured lane of the deployment arm.

    A transcript counts only if it was flagged or if at least `judged_share` of k positions were judged. Shorter
    transcripts had fewer chances to be flagged.

    Args:
        units: The deployment arm's units in the measured lane.
        headline: The headline of the units.
        k: Number of positions that the certificate is for.
        limit: The certificate is given if the bound is below this.
        judged_share: Share of k positions that must be judged for a transcript to count as not flagged.
        how: Settings of the explanation-level interval.

    Returns:
        None without a deployment transcript.
    """
    if not units:
        return None
    able = [u for u in units if u.state is True or (u.state is False and u.judged_positions >= judged_share * k)]
    flagged = sum(u.state is True for u in able)
    bound = upper_bound(flagged, len(able), how.level)
    judged = [u for u in units if u.judged_readings]
    per_explanation = cluster_ratio(
        [u.aware_readings for u in judged], [u.judged_readings for u in judged], [u.cluster for u in judged], how
    )
    return Certification(
        headline=headline,
        k=k,
        flagged=flagged,
        transcripts=len(able),
        bound=bound,
        limit=limit,
        certified=bound < limit,
        needed=units_needed(limit, how.level),
        explanation_rate=per_explanation,
        implied_any_of_k=None if per_explanation.value is None else implied_any_of_k(per_explanation.value, k),
        observed_any_of_k=wilson(flagged, len(able), how.level),
    )


def lane_scores(found: Verdicts) -> list[LaneScores]:
    """AR scores, truncation and variety of texts, per arm and lane."""
    arms = found.transcripts.select("transcript_digest", "arm").unique(maintain_order=True)
    rows = found.readings.join(arms, on="transcript_digest", how="inner")
    closed = pl.col("stop") == StopReason.CLOSED.value
    scores = ("cos", "fve_nrm", "fve_meannorm", "matched_minus_shuffled")
    table = rows.group_by("arm", "lane").agg(
        pl.len().alias("readings"),
        closed.sum().alias("closed"),
        (pl.col("stop") == StopReason.TRUNCATED.value).mean().alias("truncated_share"),
        pl.col("explanation").filter(closed).n_unique().alias("unique_texts"),
        pl.col("cos").count().alias("scored"),
        *(pl.col(name).sort().mean() for name in scores),
    )
    found_rows = [LaneScores(**row) for row in table.to_dicts()]
    return sorted(found_rows, key=lambda s: (s.arm != Arm.EVALUATION, s.arm, s.lane != "measured", s.lane))


def _profile(arm: str, rows: pl.DataFrame) -> ArmProfile:
    foreign = pl.col("replay_notes").list.set_intersection(sorted(FOREIGN_CALLS)).list.len().fill_null(0) > 0
    languages = rows["languages"].to_list() if "languages" in rows.columns else []
    spoken = [x for entry in languages for x in ([entry] if isinstance(entry, str) else entry or [])]
    return ArmProfile(
        arm=arm,
        suites=sorted(set(rows["suite"])),
        transcripts=rows.height,
        families=sorted(set(rows["family"])),
        **{name: _spread(rows[name].to_list()) for name in _SPREADS},
        on_policy_share=fmean(rows["on_policy"].cast(pl.Float64).to_list()),
        variants=_counted([v or "unnamed" for v in rows["variant"]]),
        languages=_counted(spoken),
        lost_tokens=int(rows["lost_tokens"].sum()),
        transcripts_cut=int((rows["lost_tokens"] > 0).sum()),
        replay_notes=_counted([note for notes in rows["replay_notes"].to_list() for note in notes or []]),
        calls=int(rows["tool_calls"].sum()),
        native_calls=int(rows.filter(~foreign)["tool_calls"].sum()),
    )


def _counted(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _spread(values: Sequence[int]) -> Spread:
    return Spread(median=median(values), low=min(values), high=max(values))


def _mean_imbalance(name: str, left: Sequence[int], right: Sequence[int]) -> Imbalance:
    standardised = standardised_difference(left, right, pooled_deviation(left, right))
    balanced = standardised is not None and abs(standardised) <= UNBALANCED
    return Imbalance(measure=name, left=fmean(left), right=fmean(right), standardised=standardised, balanced=balanced)
