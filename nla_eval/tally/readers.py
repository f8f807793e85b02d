"""Other readers beside N: texts written from the prefix, the probe, the target's own answer, and told recall.

In: the frames of a tally, the scores of stores and logs, and the pack's card. Out: frozen types that a tally may hold.
A gain is relative to a named reader; a gain that is not shown is said to be zero. It computes nothing of N itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..judgement import JUDGED_SHARE, Headline
from ..readings import KEY, LANES, Lane
from ..stats.bootstrap import cluster_interval, ratio, totals
from ..stats.gain import MATCHED_RATE, Discordant, Scored, discordant, gain
from ..stats.interval import Estimate, Resampling, withheld
from ..stats.permutation import permutation_test
from ..transcript import Arm
from .frames import Definitions, Frames, column
from .trained_on import trained_on_note, without_trained_on
from .types_readers import ReaderGain, ReadersTally, Shuffled, ToldRecall
from .units import Cluster, Unit, lane_units
from .verdicts import verdicts

_NONE = "No rate of told positions under this classifier and headline"


@dataclass(frozen=True)
class Beside:
    """What stands beside the frames of a tally."""

    scores: pl.DataFrame
    """Columns of `rows.SCORE_SCHEMA`: `Gathered.scores`."""
    card: Mapping[str, Any] | None = None
    """The pack's card."""
    rate: float = MATCHED_RATE
    how: Resampling = field(default_factory=Resampling)
    judged_share: float = JUDGED_SHARE
    """A transcript enters no rate of texts if a smaller share of its planned readings was judged."""


def readers_tally(frames: Frames, definitions: Definitions, headline: Headline, beside: Beside) -> ReadersTally:
    """Compare N with every other reader that has read the same transcripts.

    Args:
        frames: Readings of all lanes with their judgements, and transcripts.
        definitions: Labels that count as aware under each headline.
        headline: The headline of N.
        beside: Scores and card.
    """
    frames, left_out = without_trained_on(frames)
    units = _units(frames, definitions, headline, beside)
    suites = sorted({u.suite for u in units if u.arm == Arm.EVALUATION})
    readers = _readers(frames, beside.scores)
    gains = [_gain(units, suite, lane, reader, beside) for suite in suites for lane, reader in readers]
    signed = frames.judgements.select("classifier", "rubric").drop_nulls().unique().sort("classifier", "rubric").rows()
    classifier, rubric = signed[0] if signed else ("", "")
    told, missing = told_recall(beside.card, classifier, rubric, headline)
    return ReadersTally(
        headline=headline,
        gains=[found for found in gains if found is not None],
        shuffled=[_shuffled(frames, units, suite, beside.how) for suite in suites],
        told=told,
        told_missing=missing,
        notes=trained_on_note(left_out),
    )


def told_recall(
    card: Mapping[str, Any] | None, classifier: str, rubric: str, headline: Headline
) -> tuple[ToldRecall | None, str]:
    """Told recall from a pack's card, and why there is none. A rate of another classifier, rubric or headline is no
    recall of this N."""
    judged = (card or {}).get("told_judged")
    if not judged:
        return None, f"{_NONE}: the card of the pack has none; nla-eval pack card --measure --only pairs --write"
    for name, wanted in (("classifier", classifier), ("rubric", rubric)):
        if judged[name] != wanted:
            return None, f"{_NONE}: the card was judged by {name} {judged[name]}, these readings by {wanted}"
    rates = judged["headlines"][headline.value]
    found = ToldRecall(
        pack=str((card or {}).get("pack", "")),
        classifier=classifier,
        rubric=rubric,
        headline=headline,
        recall=_estimate(rates["recall"]),
        untold=_estimate(rates["untold"]),
        difference=_estimate(rates["difference"]),
    )
    return found, ""


@dataclass(frozen=True)
class _Unit:
    """One transcript: its verdicts and its values, by lane or (lane, reader) of scores."""

    digest: str
    suite: str
    arm: str
    cluster: Cluster
    positions: Mapping[str, Mapping[int, bool]]
    """By lane: judged position -> aware."""
    verdicts: Mapping[str, Unit]
    """By lane, as in the report."""
    scores: Mapping[tuple[str, str], float]

    def value(self, lane: Lane, reader: str) -> float | None:
        """Fraction of aware positions where enough were judged; the score, in lanes without texts."""
        if not LANES[lane].explained:
            return self.scores.get((lane.value, reader))
        own = self.verdicts.get(lane.value)
        return own.fraction if own is not None else None

    def state(self, lane: Lane) -> bool | None:
        """Any-of-k verdict; None where it enters no rate."""
        own = self.verdicts.get(lane.value)
        return own.counted if own is not None else None


def _units(frames: Frames, definitions: Definitions, headline: Headline, beside: Beside) -> list[_Unit]:
    found = verdicts(frames, definitions)
    judged = found.positions.filter(pl.col("judged_r") > 0)
    positions: dict[tuple[int, str], dict[int, bool]] = {}
    for t, lane, position, aware in judged.select("t", "lane", "position", column(headline)).iter_rows():
        positions.setdefault((t, lane), {})[position] = aware > 0
    means = beside.scores.filter(pl.col("score").is_not_null()).group_by("transcript_digest", "lane", "reader")
    scores: dict[str, dict[tuple[str, str], float]] = {}
    for digest, lane, reader, score in means.agg(pl.col("score").sort().mean()).iter_rows():
        scores.setdefault(digest, {})[lane, reader] = score
    lanes = sorted(found.positions["lane"].unique())
    by_lane = [lane_units(found, lane, headline, beside.judged_share) for lane in lanes]
    return [
        _Unit(
            digest=row["transcript_digest"],
            suite=row["suite"],
            arm=row["arm"],
            cluster=(row["suite"], row["family"]),
            positions={lane: positions[row["t"], lane] for lane in lanes if (row["t"], lane) in positions},
            verdicts={lane: units[i] for lane, units in zip(lanes, by_lane, strict=True)},
            scores=scores.get(row["transcript_digest"], {}),
        )
        for i, row in enumerate(found.transcripts.iter_rows(named=True))
    ]


def _readers(frames: Frames, scores: pl.DataFrame) -> list[tuple[Lane, str]]:
    """Every (lane, reader) besides the verbalizer, in the order of the lane table. Lane `setting` reads activations as
    N does, and is a column of its own."""
    texts = frames.readings.select("lane", "reader") if "reader" in frames.readings else None
    others = scores.filter(pl.col("lane") != Lane.SETTING.value)
    found = {*others.select("lane", "reader").iter_rows()}
    found |= set(texts.drop_nulls().iter_rows()) if texts is not None else set()
    order = list(Lane)
    return sorted(((Lane(lane), reader) for lane, reader in found), key=lambda pair: (order.index(pair[0]), pair[1]))


def _gain(units: Sequence[_Unit], suite: str, lane: Lane, reader: str, beside: Beside) -> ReaderGain | None:
    """None if no transcript of the suite has both."""
    arms = (
        [u for u in units if u.suite == suite and u.arm == Arm.EVALUATION],
        [u for u in units if u.arm == Arm.DEPLOYMENT],
    )
    positive, negative = (_scored(arm, lane, reader) for arm in arms)
    if not positive.clusters:
        return None
    texts = LANES[lane].explained
    return ReaderGain(
        suite=suite,
        lane=lane,
        reader=reader,
        gain=gain(positive, negative, beside.how, beside.rate),
        transcripts=_disagree(arms[0], lane, beside.how) if texts else None,
        positions=_disagree_at(arms[0], lane, beside.how) if texts else None,
    )


def _scored(arm: Sequence[_Unit], lane: Lane, reader: str) -> Scored:
    rows = [(u.value(Lane.MEASURED, ""), u.value(lane, reader), u.cluster) for u in arm]
    both = [(own, other, cluster) for own, other, cluster in rows if own is not None and other is not None]
    return Scored([own for own, _, _ in both], [other for _, other, _ in both], [cluster for _, _, cluster in both])


def _disagree(arm: Sequence[_Unit], lane: Lane, how: Resampling) -> Discordant:
    rows = [(u.state(Lane.MEASURED), u.state(lane), u.cluster) for u in arm]
    both = [(own, other, cluster) for own, other, cluster in rows if own is not None and other is not None]
    return discordant([own for own, _, _ in both], [other for _, other, _ in both], [c for _, _, c in both], how)


def _disagree_at(arm: Sequence[_Unit], lane: Lane, how: Resampling) -> Discordant:
    both = [
        (own, u.positions[lane.value][position], u.cluster)
        for u in arm
        for position, own in u.positions.get(Lane.MEASURED.value, {}).items()
        if position in u.positions.get(lane.value, {})
    ]
    return discordant([own for own, _, _ in both], [other for _, other, _ in both], [c for _, _, c in both], how)


def _shuffled(frames: Frames, units: Sequence[_Unit], suite: str, how: Resampling) -> Shuffled:
    sides: list[list[tuple[float, Cluster]]] = [[], []]
    for unit in units:
        side = 0 if unit.suite == suite and unit.arm == Arm.EVALUATION else 1 if unit.arm == Arm.DEPLOYMENT else None
        state = unit.state(Lane.MEASURED)
        if side is not None and state is not None:
            sides[side].append((float(state), unit.cluster))
    (a, of_a), (b, of_b) = (([x for x, _ in rows], [c for _, c in rows]) for rows in sides)
    return Shuffled(
        suite=suite,
        arms=permutation_test(a, of_a, b, of_b, how),
        matched_minus_shuffled=_matched(frames, units, suite, how),
    )


def _matched(frames: Frames, units: Sequence[_Unit], suite: str, how: Resampling) -> Estimate:
    clusters = {u.digest: u.cluster for u in units if u.suite == suite and u.arm == Arm.EVALUATION}
    own = frames.readings.filter(
        (pl.col("lane") == Lane.MEASURED.value) & pl.col("matched_minus_shuffled").is_not_null()
    ).sort(KEY)
    rows = [
        (value, clusters[digest])
        for digest, value in own.select("transcript_digest", "matched_minus_shuffled").iter_rows()
        if digest in clusters
    ]
    if not rows:
        return withheld(None, 0, "cluster", "no reading of the suite has an AR score")
    sums = totals([cluster for _, cluster in rows], [value for value, _ in rows], [1.0] * len(rows))
    return cluster_interval(lambda w: ratio(w @ sums[:, 0], w @ sums[:, 1]), [len(sums)], how, (-2.0, 2.0))


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    low, high = entry["interval"]
    missing = None if low is not None else "the card has no interval"
    return Estimate(entry["value"], low, high, entry["n"], "cluster interval over notices, as on the card", missing)
