"""A suite against its deployment transcripts, both brought to a common k and common draws.

In: units of the measured lane. Out: an `ArmComparison`. Which transcripts are admitted depends on how many positions
they supply, never on what those say. Under a stratified policy the k positions are taken by channel, so many of each as
both arms supply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..stats.benjamini_hochberg import benjamini_hochberg
from ..stats.bootstrap import arm_difference
from ..stats.common_arms import Side, compare_shares
from ..stats.common_k import summary_shares, supplied
from ..stats.holm import holm
from ..stats.interval import Resampling
from .types_lanes import ArmComparison
from .units import Unit, unit_fractions

ADMITTED = 0.9
"""Share of both arms that must supply the common k."""


@dataclass(frozen=True)
class Common:
    """What two arms are brought to."""

    k: int
    draws: int
    by_channel: Mapping[str, int]
    """Empty where positions are exchanged whatever their channel."""

    @property
    def wanted(self) -> tuple[tuple[str, int], ...] | int:
        """As `summary_shares` takes it."""
        return tuple(sorted(self.by_channel.items())) or self.k


def versus_deployment(
    suite: Sequence[Unit], deployment: Sequence[Unit], by_channel: bool, how: Resampling
) -> ArmComparison | None:
    """Compare a suite with deployment.

    Args:
        suite: Measured units of the suite.
        deployment: Of the deployment transcripts that it is compared with.
        by_channel: Whether positions were sampled by stratum.
        how: Resamples, seed, level.

    Returns:
        None without a deployment transcript. Corrections over suites are added by `corrected`.
    """
    if not deployment:
        return None
    common = common_size((suite, deployment), by_channel)
    sides = at_common_size(suite, common), at_common_size(deployment, common)
    found = compare_shares(*sides, common.k, common.draws, (len(suite), len(deployment)), how)
    return ArmComparison(
        k=common.k,
        draws=common.draws,
        by_channel=dict(common.by_channel),
        admitted=found.admitted,
        total=found.total,
        rates=found.rates,
        rate_difference=found.difference,
        auroc=found.auroc,
        fraction_difference=arm_difference(*unit_fractions(suite), *unit_fractions(deployment), how),
        permutation=found.test,
        holm_p=None,
    )


def corrected(found: Sequence[ArmComparison | None]) -> list[ArmComparison | None]:
    """The comparisons of all suites, with p-values corrected over them."""
    tested = {i: c.permutation.p_value for i, c in enumerate(found) if c is not None and c.permutation is not None}
    raw = list(tested.values())
    pairs = zip(holm(raw), benjamini_hochberg(raw), strict=True)
    by_index = dict(zip(tested, pairs, strict=True))
    return [
        None
        if c is None
        else c.model_copy(update=dict(zip(("holm_p", "bh_p"), by_index.get(i, (None, None)), strict=True)))
        for i, c in enumerate(found)
    ]


def common_size(sides: Sequence[Sequence[Unit]], by_channel: bool) -> Common:
    """The largest number of positions and draws that nine tenths of every side supply, by channel if asked."""
    draws = max(1, min(max((u.draws for u in side), default=1) for side in sides))
    plain = max(1, min(_supplied([supplied(u.summary, draws) for u in side]) for side in sides))
    common = Common(plain, draws, {})
    if not by_channel:
        return common
    channels = sorted({row[0] for side in sides for u in side for row in u.summary})
    each = {
        channel: min(_supplied([{channel: supplied(u.summary, draws).get(channel, 0)} for u in side]) for side in sides)
        for channel in channels
    }
    each = {channel: k for channel, k in each.items() if k}
    return replace(common, k=sum(each.values()), by_channel=each) if each else common


def _supplied(positions: Sequence[Mapping[str, int]]) -> int:
    """The largest number of positions that at least 90 % of the transcripts supply."""
    totals = np.sort([sum(one.values()) for one in positions])[::-1]
    return int(totals[max(0, -int(-ADMITTED * len(totals) // 1) - 1)]) if len(totals) else 0


def at_common_size(units: Sequence[Unit], common: Common) -> Side:
    """The units that supply the common k and draws, brought to them."""
    shares, families = [], []
    for unit in units:
        found = summary_shares(unit.summary, common.wanted, common.draws)
        if found is not None:
            shares.append(found)
            families.append(unit.cluster)
    return Side(np.array(shares).reshape(-1, common.k + 1), families)
