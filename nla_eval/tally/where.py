"""Where awareness is found: by depth, channel and turn of a position, by AR score, and how often it recurs.

In: joined verdicts. Out: rates with cluster intervals over families, per arm, in the measured lane. They describe; no
test is made of them, and a cut with few positions says so by its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from ..judgement import Headline
from ..readings import Lane
from ..stats.bootstrap import cluster_ratio
from ..stats.interval import Estimate, Resampling
from ..transcript import Arm
from .frames import column
from .verdicts import Verdicts

RESAMPLES = 500
"""Resamples of these intervals: there are many of them, and none is a finding."""
BINS = 5
TURNS = 4
"""Later turns are counted together."""
_UNITS = ["t", "position"]


@dataclass(frozen=True)
class Cut:
    """One arm's positions within one group."""

    arm: str
    group: str
    aware: int
    """Aware positions."""
    judged: int
    """Judged positions."""
    rate: Estimate


@dataclass(frozen=True)
class Recurrence:
    """Aware positions per flagged transcript. A theme that recurs is likelier true (docs/method.md 4.9)."""

    arm: str
    lane: str
    groups: dict[str, int]
    """Flagged transcripts by number of aware positions."""
    flagged: int
    transcripts: int


@dataclass(frozen=True)
class Where:
    """Cuts of the measured lane under one headline."""

    headline: Headline
    depth: list[Cut]
    """By position over length of the transcript, in fifths."""
    channel: list[Cut]
    turn: list[Cut]
    """By assistant or user turn, from 1."""
    score: list[Cut]
    """By AR cosine, in fifths over all measured readings: the rate against the gate."""
    recurrence: list[Recurrence]


def where(found: Verdicts, headline: Headline, how: Resampling | None = None) -> Where:
    """The cuts under one headline of what a tally counts."""
    how = replace(how or Resampling(), resamples=RESAMPLES)
    positions = _positions(found, headline)
    cuts = {name: _cuts(positions, name, how) for name in ("depth", "channel", "turn", "score")}
    return Where(headline=headline, **cuts, recurrence=_recurrence(found, headline))


def _positions(found: Verdicts, headline: Headline) -> pl.DataFrame:
    """One row per judged position of the measured lane, with its groups."""
    columns = ("t", "suite", "arm", "family", "tokens")
    about = found.transcripts.select(columns).unique("t", keep="first", maintain_order=True)
    rows = found.readings.filter((pl.col("lane") == Lane.MEASURED.value) & pl.col("judged"))
    rows = rows.hstack(found.frames.readings.select(pl.col("turn", "cos").gather(rows["row"])))
    made = rows.group_by(_UNITS).agg(
        pl.col(column(headline)).any().alias("aware"),
        pl.col("channel").first(),
        pl.col("turn").first(),
        pl.col("cos").mean(),
    )
    depth = (BINS * pl.col("position") / pl.col("tokens").clip(1)).floor().clip(0, BINS - 1)
    fifth = ((pl.col("cos").rank("average") - 0.5) * BINS / pl.col("cos").count()).floor().clip(0, BINS - 1)
    turn = pl.col("turn") + 1
    later = pl.lit(f"{TURNS + 1} and later")
    return (
        made.join(about, on="t", how="inner")
        .sort(_UNITS)
        .with_columns(
            depth=_fifth(depth),
            score=_fifth(fifth),
            turn=pl.when(pl.col("turn") < 0).then(None).when(turn > TURNS).then(later).otherwise(turn.cast(pl.String)),
        )
    )


def _fifth(index: pl.Expr) -> pl.Expr:
    """Names of fifths: "0 to 20 %"."""
    step = 100 // BINS
    names = {i: f"{step * i} to {step * (i + 1)} %" for i in range(BINS)}
    return index.cast(pl.Int64).replace_strict(names, default=None, return_dtype=pl.String())


def _cuts(positions: pl.DataFrame, group: str, how: Resampling) -> list[Cut]:
    """Arms in the order evaluation, monitor, deployment; groups by name, which is their order."""
    keys = ["arm", group, "t", "suite", "family"]
    sums = (
        positions.filter(pl.col(group).is_not_null())
        .group_by(keys)
        .agg(pl.col("aware").sum(), pl.len().alias("judged"))
        .sort(keys)
    )
    out = []
    for (arm, name), part in sums.group_by(["arm", group], maintain_order=True):
        clusters = list(part.select("suite", "family").iter_rows())
        rate = cluster_ratio(part["aware"].to_list(), part["judged"].to_list(), clusters, how)
        out.append(Cut(str(arm), str(name), int(part["aware"].sum()), int(part["judged"].sum()), rate))
    return sorted(out, key=lambda cut: (cut.arm == Arm.DEPLOYMENT, cut.arm))


_TIMES: Sequence[tuple[str, int, int]] = (("1", 1, 1), ("2", 2, 2), ("3 or 4", 3, 4), ("5 or more", 5, 10**9))


def _recurrence(found: Verdicts, headline: Headline) -> list[Recurrence]:
    arms = found.transcripts.select("t", "arm").unique("t", maintain_order=True)
    flagged = found.positions.filter(pl.col(column(headline)) > 0)
    aware = flagged.group_by("t", "lane").agg(pl.len().alias("times")).join(arms, on="t", how="inner")
    read = found.positions.join(arms, on="t", how="inner").group_by("arm", "lane")
    counts = read.agg(pl.col("t").n_unique().alias("n")).sort("arm", "lane").iter_rows()
    out = []
    for arm, lane, transcripts in counts:
        times = aware.filter((pl.col("arm") == arm) & (pl.col("lane") == lane))["times"].to_list()
        groups = {name: sum(low <= n <= high for n in times) for name, low, high in _TIMES}
        out.append(Recurrence(arm, lane, groups, len(times), transcripts))
    order = [lane.value for lane in Lane]
    return sorted(out, key=lambda r: (r.arm == Arm.DEPLOYMENT, r.arm, order.index(r.lane) if r.lane in order else 99))
