"""Readings that could not be judged, and whether they are more in one arm: said before any rate.

An arm that loses more of its readings has fewer chances to be flagged, and what is lost need not be like the rest."""

from __future__ import annotations

import polars as pl

from ..readings import Lane, StopReason
from ..stats.bootstrap import arm_difference
from ..stats.interval import Resampling
from ..transcript import Arm
from .verdicts import Verdicts

LEAST = 0.02
"""Smaller differences are not said."""


def truncation_note(found: Verdicts, how: Resampling) -> list[str]:
    """One sentence where the arms differ in the share of readings that ran into the token cap; else nothing.

    They differ if the interval of the difference over families excludes zero; without an interval, by 10 points.
    """
    cut = (pl.col("stop") == StopReason.TRUNCATED.value).mean().alias("cut")
    by_t = found.readings.filter((pl.col("lane") == Lane.MEASURED) & (pl.col("position") >= 0)).group_by("t").agg(cut)
    rows = found.transcripts.select("t", "arm", "suite", "family").join(
        by_t, on="t", how="inner", maintain_order="left"
    )
    sides = []
    for arm in (Arm.EVALUATION, Arm.DEPLOYMENT):
        of = rows.filter(pl.col("arm") == arm.value)
        sides.append((of["cut"].to_list(), list(of.select("suite", "family").iter_rows())))
    difference = arm_difference(*sides[0], *sides[1], how)
    if difference.value is None or abs(difference.value) < LEAST:
        return []
    if difference.low is None or difference.high is None:
        differ = abs(difference.value) > 0.1
    else:
        differ = difference.low > 0 or difference.high < 0
    shares = [sum(values) / len(values) for values, _ in sides]
    return [
        f"Truncation differs between the arms: {shares[0]:.1%} of the evaluation arm's explanations ran into the token "
        f"cap, {shares[1]:.1%} of deployment's. Raise max_new_tokens before comparing the arms."
    ] * differ
