"""The arms of a tally: profiles of their transcripts, and the balance of every suite with what it is compared with.

In: transcripts. Out: the parts of a `Tally` about whole arms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median

import polars as pl

from ..replay.types import FOREIGN_CALLS
from ..stats.balance import UNBALANCED, pooled_deviation, standardised_difference
from ..transcript import Arm
from .types import ArmProfile, Arms, Imbalance, Spread

SHARE_LIMIT = 0.1
"""Shares that differ by more than this count as unbalanced."""
_SPREADS = ("tokens", "turns", "tool_calls", "planned_positions")


def arms_of(transcripts: pl.DataFrame, compared: Mapping[str, Sequence[str]] | None = None) -> Arms:
    """Profiles of all arms, and the differences between every evaluation suite and its deployment transcripts.

    Args:
        transcripts: One row per transcript.
        compared: The deployment suites of each evaluation suite; by default all.
    """
    by_arm = {arm: transcripts.filter(pl.col("arm") == arm) for arm in sorted(set(transcripts["arm"]), reverse=True)}
    by_arm = {arm: by_arm[arm] for arm in sorted(by_arm, key=lambda a: (a != Arm.EVALUATION, a))}
    profiles = [_profile(arm, rows) for arm, rows in by_arm.items()]
    evaluation, deployment = by_arm.get(Arm.EVALUATION.value), by_arm.get(Arm.DEPLOYMENT.value)
    if evaluation is None or deployment is None:
        return Arms(profiles=profiles, imbalances=[], balanced=False)
    imbalances = []
    for suite in sorted(set(evaluation["suite"])):
        named = (compared or {}).get(suite)
        against = deployment if named is None else deployment.filter(pl.col("suite").is_in(list(named)))
        imbalances += _imbalances(suite, evaluation.filter(pl.col("suite") == suite), against)
    return Arms(profiles=profiles, imbalances=imbalances, balanced=all(i.balanced for i in imbalances))


def _imbalances(suite: str, left: pl.DataFrame, right: pl.DataFrame) -> list[Imbalance]:
    shares = [fmean(rows["on_policy"].cast(pl.Float64).to_list()) for rows in (left, right)]
    return [
        *(_mean_imbalance(suite, name, left[name].to_list(), right[name].to_list()) for name in _SPREADS),
        Imbalance(
            suite=suite,
            measure="on_policy_share",
            left=shares[0],
            right=shares[1],
            standardised=None,
            balanced=abs(shares[0] - shares[1]) <= SHARE_LIMIT,
        ),
    ]


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


def _mean_imbalance(suite: str, name: str, left: Sequence[int], right: Sequence[int]) -> Imbalance:
    standardised = standardised_difference(left, right, pooled_deviation(left, right))
    balanced = standardised is not None and abs(standardised) <= UNBALANCED
    return Imbalance(
        suite=suite, measure=name, left=fmean(left), right=fmean(right), standardised=standardised, balanced=balanced
    )
