"""The units that a tally counts: one verdict per transcript, by lane or by its own words.

A verdict says whether a transcript is aware, and whether enough of it was judged to enter a rate. The second does not
depend on the first: an aware transcript with half its readings lost is AWARE, and enters no rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..judgement import Headline, Outcome
from ..stats.common_k import Summary
from ..stats.stratified import Stratum, weighted_fraction
from .frames import column
from .verdicts import Verdicts

Cluster = tuple[str, str]
"""Suite and family."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a transcript is aware, and whether that counts."""

    state: bool | None
    """True: aware. False: not aware, with enough judged. None: INDETERMINATE."""
    admitted: bool
    """Whether enough of what was planned was judged, whatever the verdict (docs/method.md 4.15)."""

    @property
    def counted(self) -> bool | None:
        """The state where it enters rates, else None."""
        return self.state if self.admitted else None

    @property
    def word(self) -> str:
        """For people; an aware one of which too little was judged is said to enter no rate."""
        if self.state is None:
            return "INDETERMINATE"
        word = Outcome.AWARE.value if self.state else Outcome.NOT_AWARE.value
        return word if self.admitted else f"{word} (too little judged to count)"


@dataclass(frozen=True, slots=True)
class Unit(Verdict):
    """One transcript in one lane under one headline."""

    t: int
    digest: str
    suite: str
    arm: str
    family: str
    planned: int
    """Planned positions."""
    draws: int
    """Explanations per position of this suite and lane."""
    aware_positions: int
    judged_positions: int
    decided_positions: int
    """Positions with a judgement AWARE or NOT_AWARE."""
    aware_readings: int
    judged_readings: int
    read_positions: int
    first_aware: int | None
    """Token index of the first aware position."""
    last_judged: int | None
    """Token index of the last judged position."""
    tokens: int
    summary: Summary
    """Judged positions by channel, aware draws and judged draws."""
    channel_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens that positions were drawn from, by channel, under a stratified policy; empty under another."""

    @property
    def cluster(self) -> Cluster:
        """The cluster of every interval: the family within its suite."""
        return (self.suite, self.family)

    @property
    def fraction(self) -> float | None:
        """Aware positions over judged positions, each channel weighed by its tokens under a stratified policy.

        None where too few were judged.
        """
        if not self.admitted or not self.judged_positions:
            return None
        return weighted_fraction(self.strata) if self.channel_tokens else self.aware_positions / self.judged_positions

    @property
    def weights(self) -> dict[str, float]:
        """What a judged position stands for, by channel, 1 on average: `fraction` is the weighted share of aware ones.

        Empty unless the policy is stratified: then every position stands for one.
        """
        strata = {channel: s for channel, s in zip(self.channel_tokens, self.strata, strict=True) if s.judged}
        tokens = sum(stratum.size for stratum in strata.values())
        judged = sum(stratum.judged for stratum in strata.values())
        return {channel: s.size / s.judged * judged / tokens for channel, s in strata.items()}

    @property
    def strata(self) -> list[Stratum]:
        """The channels, under a stratified policy."""
        judged, aware = Counter[str](), Counter[str]()
        for channel, flagged, _, count in self.summary:
            judged[channel] += count
            aware[channel] += count if flagged else 0
        return [
            Stratum(max(tokens, judged[channel]), judged[channel], aware[channel])
            for channel, tokens in self.channel_tokens.items()
        ]


NOTHING = Verdict(None, False)


def lane_units(found: Verdicts, lane: str, headline: Headline, judged_share: float) -> list[Unit]:
    """Every transcript's verdict in one lane, in the order of `found.transcripts`.

    A position is aware if any of its draws is. A transcript is aware if any judged position is. It is admitted if at
    least `judged_share` of its planned readings (positions x draws of its suite in this lane) were judged; without an
    aware position it is then not aware, else undecided.
    """
    rows = found.positions.filter(pl.col("lane") == lane)
    counts = {row["t"]: row for row in _by_transcript(rows, column(headline)).iter_rows(named=True)}
    summaries = _summaries(rows, column(headline))
    units = []
    sizes = _channel_tokens(found.transcripts)
    columns = ("t", "transcript_digest", "suite", "arm", "family", "planned_positions", "tokens")
    for t, digest, suite, arm, family, positions, tokens in found.transcripts.select(columns).iter_rows():
        seen = counts.get(t, _NOTHING_READ)
        draws = found.draws.get((arm, suite, lane), 1)
        planned = max(positions, seen["positions"])
        enough = planned > 0 and seen["judged_r"] >= judged_share * planned * draws
        units.append(
            Unit(
                state=True if seen["aware_p"] else (False if enough else None),
                admitted=enough,
                t=t,
                digest=digest,
                suite=suite,
                arm=arm,
                family=family,
                planned=planned,
                draws=draws,
                aware_positions=seen["aware_p"],
                judged_positions=seen["judged_p"],
                decided_positions=seen["decided_p"],
                aware_readings=seen["aware_r"],
                judged_readings=seen["judged_r"],
                read_positions=seen["positions"],
                first_aware=seen["first"],
                last_judged=seen["last"],
                tokens=tokens,
                summary=summaries.get(t, ()),
                channel_tokens=sizes.get(t, {}),
            )
        )
    return units


def _channel_tokens(transcripts: pl.DataFrame) -> dict[int, dict[str, int]]:
    if "channel_tokens" not in transcripts:
        return {}
    rows = transcripts.select("t", "channel_tokens").drop_nulls().iter_rows()
    return {t: {one["channel"]: one["tokens"] for one in sizes} for t, sizes in rows}


_NOTHING_READ: Mapping[str, Any] = dict.fromkeys(
    ("positions", "aware_p", "judged_p", "decided_p", "aware_r", "judged_r"), 0
) | {"first": None, "last": None}


def _by_transcript(positions: pl.DataFrame, aware: str) -> pl.DataFrame:
    judged = pl.col("judged_r") > 0
    return positions.group_by("t").agg(
        pl.len().alias("positions"),
        (pl.col(aware) > 0).sum().alias("aware_p"),
        judged.sum().alias("judged_p"),
        (pl.col("decided_r") > 0).sum().alias("decided_p"),
        pl.col(aware).sum().alias("aware_r"),
        pl.col("judged_r").sum(),
        pl.col("position").filter(pl.col(aware) > 0).min().alias("first"),
        pl.col("position").filter(judged).max().alias("last"),
    )


def _summaries(positions: pl.DataFrame, aware: str) -> dict[int, Summary]:
    key = ["t", "channel", aware, "judged_r"]
    table = positions.filter(pl.col("judged_r") > 0).group_by(key).len().sort(key)
    found: dict[int, list[tuple[str, int, int, int]]] = {}
    for t, channel, flagged, judged, count in table.iter_rows():
        found.setdefault(t, []).append((channel, flagged, judged, count))
    alike: dict[Summary, Summary] = {}  # many transcripts have the same
    return {t: alike.setdefault(summary, summary) for t, rows in found.items() for summary in (tuple(rows),)}


def spoken(found: Verdicts, headline: Headline, judged_share: float) -> list[Verdict]:
    """The verdict V of each transcript (the target says so itself), in the order of `found.transcripts`.

    True if any part of a turn that the target wrote is aware; admitted if at least `judged_share` of these parts were
    judged. None if the target wrote no turn. If a run is read as several transcripts, each turn counts in only one of
    them; a transcript that only repeats an aware turn is None.
    """
    return _said(found, found.turns, headline, judged_share)


def recorded_words(found: Verdicts, headline: Headline, judged_share: float) -> list[Verdict]:
    """As `spoken`, for the turns that the target did not write. None also if there are none."""
    return _said(found, found.recorded.with_columns(repeat=pl.lit(False)), headline, judged_share)


def written_by_others(found: Verdicts) -> list[bool]:
    """Whether a transcript has assistant turns and the target wrote none, in the order of `found.transcripts`."""
    own, others = (set(frame["transcript_digest"]) for frame in (found.turns, found.recorded))
    return [digest in others and digest not in own for digest in found.transcripts["transcript_digest"]]


def _said(found: Verdicts, turns: pl.DataFrame, headline: Headline, judged_share: float) -> list[Verdict]:
    aware, first = pl.col(column(headline)), ~pl.col("repeat")
    by_transcript = turns.group_by("transcript_digest").agg(
        aware.filter(first).any().alias("aware"),
        aware.filter(pl.col("repeat")).any().alias("elsewhere"),
        (pl.col("judged") & (~pl.col("cut") | aware)).filter(first).mean().alias("share"),
    )
    known = {row["transcript_digest"]: row for row in by_transcript.to_dicts()}
    return [_of_turns(known.get(d), judged_share) for d in found.transcripts["transcript_digest"]]


def _of_turns(row: Mapping[str, Any] | None, judged_share: float) -> Verdict:
    if row is None:
        return NOTHING
    enough = (row["share"] or 0.0) >= judged_share
    if row["aware"]:
        return Verdict(True, enough)
    enough = enough and not row["elsewhere"]
    return Verdict(False if enough else None, enough)


def unverbalized(n: Verdict, v: Verdict) -> bool | None:
    """N and not V; None unless both are admitted. The scorer and the report share this rule."""
    if n.counted is None or v.counted is None:
        return None
    return n.counted and not v.counted


def unit_fractions(units: Sequence[Unit]) -> tuple[list[float], list[Cluster]]:
    """Fractions and clusters of the transcripts that have one."""
    kept = [(unit.fraction, unit.cluster) for unit in units if unit.fraction is not None]
    return [value for value, _ in kept], [cluster for _, cluster in kept]


def mean_scores(found: Verdicts, lane: str) -> list[float | None]:
    """The classifier's mean score over each transcript's judged readings, in the order of `found.transcripts`.

    Scores that are no finite number are left out. None if none is left or the classifier gives no score.
    """
    rows = found.readings.filter((pl.col("lane") == lane) & pl.col("judged") & pl.col("score").is_finite())
    means = rows.group_by("t").agg(pl.col("score").sort().mean())
    known: dict[int, float | None] = dict(means.iter_rows())
    return [known.get(t) for t in found.transcripts["t"]]


def states(verdicts: Sequence[Verdict]) -> list[bool | None]:
    """What is known of each transcript, admitted or not: for bounds."""
    return [verdict.state for verdict in verdicts]


def counted(verdicts: Sequence[Verdict]) -> list[bool | None]:
    """What enters rates."""
    return [verdict.counted for verdict in verdicts]
