"""Compares the AUROCs of two runs: a suite against ordinary chats, and told against untold in a positive control.

In: two runs. Out: one row per suite and reader that both have. Families that stand in both runs are compared one by
one. Where too few do, both AUROCs stand without an interval of their difference, and the row says why."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..readings import LANES, Lane
from ..stats.auroc_change import AurocChange, RunScores, auroc_change, auroc_of
from ..stats.interval import Estimate, Resampling, withheld
from ..transcript import Arm
from .comparing import Common, at_common_size, common_size
from .control import CUE, NO_CUE
from .diff_sides import SHARED, Key, Side
from .diff_verdicts import change
from .headlines import UNIFORM_POLICY
from .types_diff import Against, MovedAuroc
from .units import Unit

_TEXTS = (Lane.MEASURED, *(lane for lane, entry in LANES.items() if entry.written))
"""Lanes of texts that are read in both arms. The verbalizer's controls are read in one, or are no reader."""
_SCORES = (Lane.PROBE, Lane.ASKED)
"""Lanes of scores that stand beside N."""

Rows = Sequence[tuple[float, Hashable]]
"""Score and family of each transcript."""


def moved_aurocs(first: Side, second: Side, labels: tuple[str, str], how: Resampling) -> list[MovedAuroc]:
    """Every AUROC that both runs have. Without Holm's correction, which is over rates, too."""
    pair = _Pair(first, second, labels, how)
    both = [key for key in first.suites if key in second.suites]
    return [*(row for key in both for row in pair.against_ordinary(key)), *(r for key in both for r in pair.told(key))]


@dataclass(frozen=True)
class _Scored:
    """One AUROC in both runs."""

    key: Key
    lane: Lane
    readers: tuple[str, str]
    against: Against
    runs: tuple[RunScores | None, RunScores | None]
    """None where a side of a run is empty."""
    k: int | None = None


@dataclass(frozen=True)
class _Pair:
    """Two runs."""

    first: Side
    second: Side
    labels: tuple[str, str]
    how: Resampling

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.first, self.second

    def against_ordinary(self, key: Key) -> Iterator[MovedAuroc]:
        """A suite against the ordinary chats that it is compared with: N, then the other readers."""
        arm, suite = key
        if arm != Arm.EVALUATION or not any(side.board.deployment(suite) for side in self.sides):
            return
        for lane in _TEXTS:
            if all(lane in side.board.lanes for side in self.sides):
                yield from self._texts(key, lane)
        for lane in _SCORES:
            for readers in _readers(self.first, self.second, lane):
                runs = [_scores(side, key, lane, reader) for side, reader in zip(self.sides, readers, strict=True)]
                if any(positive for positive, _ in runs):
                    yield self._row(_Scored(key, lane, readers, Against.ORDINARY, (_of(*runs[0]), _of(*runs[1]))))

    def told(self, key: Key) -> Iterator[MovedAuroc]:
        """The positive control: transcripts with the cue against those without it, by the setting adapter."""
        for readers in _readers(self.first, self.second, Lane.SETTING):
            runs = [_told(side, key, reader) for side, reader in zip(self.sides, readers, strict=True)]
            if all(positive and negative for positive, negative in runs):
                yield self._row(_Scored(key, Lane.SETTING, readers, Against.NO_CUE, (_of(*runs[0]), _of(*runs[1]))))

    def _texts(self, key: Key, lane: Lane) -> Iterator[MovedAuroc]:
        units = [
            ([side.board.lanes[lane][i] for i in side.board.members(*key)], side.board.deployment(key[1], lane))
            for side in self.sides
        ]
        if not any(unit.judged_readings for positive, _ in units for unit in positive):
            return
        policies = [policy for side in self.sides for policy in side.tally.policies]
        read = [arm for of_run in units for arm in of_run if arm]
        common = common_size(read, not all(policy.startswith(UNIFORM_POLICY) for policy in policies))
        runs = [_shares(*of_run, common) for of_run in units]
        yield self._row(_Scored(key, lane, ("", ""), Against.ORDINARY, (runs[0], runs[1]), common.k))

    def _row(self, scored: _Scored) -> MovedAuroc:
        matched = scored.against is Against.NO_CUE
        shared, left_out = _families(scored.runs)
        found, paired = self._compared(scored, shared, matched)
        return MovedAuroc(
            suite=scored.key[1],
            arm=scored.key[0],
            first=self.labels[0],
            second=self.labels[1],
            lane=scored.lane.value,
            readers=scored.readers,
            against=scored.against,
            paired=paired,
            families=(len(shared[0]), len(shared[1])),
            left_out=left_out,
            transcripts=_sizes(scored.runs, shared, paired),
            before=found.before,
            after=found.after,
            difference=found.difference,
            p=found.p_value,
            change=change(found.difference),
            k=scored.k,
        )

    def _compared(
        self, scored: _Scored, shared: tuple[Sequence[Hashable], Sequence[Hashable]], matched: bool
    ) -> tuple[AurocChange, bool]:
        one, two = scored.runs
        if one is not None and two is not None and _enough(one, two, shared):
            return auroc_change(one.only(*shared), two.only(*shared), self.how, matched), True
        before, after = (
            withheld(None, 0, "cluster", "the run has no transcript to set them against")
            if run is None
            else auroc_of(run, self.how, matched)
            for run in scored.runs
        )
        return AurocChange(before, after, self._unpaired(scored, shared, before, after), None), False

    def _unpaired(
        self, scored: _Scored, shared: tuple[Sequence[Hashable], Sequence[Hashable]], before: Estimate, after: Estimate
    ) -> Estimate:
        """The bare difference, and why it has no interval."""
        one, two = scored.runs
        if one is None or two is None or before.value is None or after.value is None:
            lacking = [label for label, run in zip(self.labels, scored.runs, strict=True) if run is None]
            told = f"{' and '.join(lacking)} cannot set {scored.key[1]} against {scored.against.value}"
            return withheld(None, 0, "cluster", told)
        names = (scored.key[1],) if scored.against is Against.NO_CUE else (scored.key[1], scored.against.value)
        sizes = [min(len(a), len(b)) for a, b in zip(one.families, two.families, strict=True)]
        told = " and ".join(
            f"{len(common)} of {size} families of {name}"
            for name, common, size in zip(names, shared, sizes, strict=False)
        )
        reason = f"the runs share {told}; a paired interval needs half of them or more"
        return withheld(after.value - before.value, min(map(len, shared)), "cluster", reason)


def _families(
    runs: tuple[RunScores | None, RunScores | None],
) -> tuple[tuple[tuple[Hashable, ...], tuple[Hashable, ...]], tuple[int, int]]:
    """Families of both runs, and how many stand in one alone, on each side."""
    sides = [[() if run is None else run.families[side] for run in runs] for side in (0, 1)]
    shared = [tuple(sorted({*one} & {*two}, key=repr)) for one, two in sides]
    alone = [len({*one} ^ {*two}) for one, two in sides]
    return (shared[0], shared[1]), (alone[0], alone[1])


def _enough(one: RunScores, two: RunScores, shared: tuple[Sequence[Hashable], Sequence[Hashable]]) -> bool:
    return all(
        len(common) >= SHARED * min(len(a), len(b)) > 0
        for common, a, b in zip(shared, one.families, two.families, strict=True)
    )


def _sizes(
    runs: tuple[RunScores | None, RunScores | None], shared: tuple[Sequence[Hashable], Sequence[Hashable]], paired: bool
) -> tuple[int, int]:
    found = [0 if run is None else sum((run.only(*shared) if paired else run).transcripts) for run in runs]
    return found[0], found[1]


def _shares(positive: Sequence[Unit], negative: Sequence[Unit], common: Common) -> RunScores | None:
    one, two = at_common_size(positive, common), at_common_size(negative, common)
    if not len(one.shares) or not len(two.shares):
        return None
    return RunScores.of_shares(np.asarray(one.shares), one.families, np.asarray(two.shares), two.families)


def _of(positive: Rows, negative: Rows) -> RunScores | None:
    if not positive or not negative:
        return None
    sides = [sorted(rows, key=lambda row: (repr(row[1]), row[0])) for rows in (positive, negative)]
    (scores, families), (others, of_others) = (([s for s, _ in rows], [f for _, f in rows]) for rows in sides)
    return RunScores.of_scores(scores, families, others, of_others)


def _readers(first: Side, second: Side, lane: Lane) -> list[tuple[str, str]]:
    """Readers of a lane of scores in both runs: those of the same name; else the one of each run."""
    one, two = (sorted(_known(side, lane)["reader"].unique()) for side in (first, second))
    shared = [(reader, reader) for reader in one if reader in two]
    return shared or ([(one[0], two[0])] if len(one) == len(two) == 1 else [])


def _known(side: Side, lane: Lane) -> pl.DataFrame:
    return side.scores.filter((pl.col("lane") == lane.value) & pl.col("score").is_not_null())


def _means(side: Side, lane: Lane, reader: str) -> dict[str, float]:
    """The mean score of each transcript."""
    rows = _known(side, lane).filter(pl.col("reader") == reader)
    return dict(rows.group_by("transcript_digest").agg(pl.col("score").sort().mean()).iter_rows())


def _scores(side: Side, key: Key, lane: Lane, reader: str) -> tuple[Rows, Rows]:
    """Scores of a suite and of the ordinary chats that it is compared with."""
    means, board = _means(side, lane, reader), side.board
    sides = [board.measured[i] for i in board.members(*key)], board.deployment(key[1])
    positive, negative = ([(means[u.digest], u.cluster) for u in units if u.digest in means] for units in sides)
    return positive, negative


def _told(side: Side, key: Key, reader: str) -> tuple[Rows, Rows]:
    """Scores with the cue and without it, of requests that were read both ways."""
    means, board = _means(side, Lane.SETTING, reader), side.board
    variants = board.found.transcripts["variant"].to_list()
    rows = [(board.measured[i], variants[i]) for i in board.members(*key)]
    sides = [[u for u, variant in rows if variant == name and u.digest in means] for name in (CUE, NO_CUE)]
    both = {u.cluster for u in sides[0]} & {u.cluster for u in sides[1]}
    positive, negative = ([(means[u.digest], u.cluster) for u in units if u.cluster in both] for units in sides)
    return positive, negative
