"""Compares runs: which rates moved from the first run to each other one, and what differs in how they were made.

In: runs that are judged under one rubric, each with its verdicts under one headline, its tally and its facts. Out: a
`Diff`. Transcripts that stand in both runs are compared one by one (docs/method.md 4.10). Where too few do, the runs
are compared as independent samples, and the row says so. It reads no file and knows no report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import InputError
from ..readings import Lane
from ..stats.bootstrap import arm_difference, cluster_mean, totals
from ..stats.common_k import summary_shares
from ..stats.contrast import sign_flip
from ..stats.interval import Estimate, Resampling
from ..stats.paired import paired_difference
from ..stats.permutation import permutation_test
from .comparing import Common, common_size
from .diff_aurocs import moved_aurocs
from .diff_sides import SHARED, Key, Side, facts, notes
from .diff_verdicts import change, corrected
from .headlines import UNIFORM_POLICY, Board
from .types_diff import Diff, DiffRun, Measure, Moved, Pairing, RunSuite
from .units import Unit, unverbalized

MOST = 6
"""Runs in one comparison: figures have so many markers."""
NO_AUROC = (
    "no evaluation suite of both runs stands beside ordinary chats, and no positive control of both was read by the "
    "setting adapter"
)


def diff(sides: Sequence[Side], how: Resampling | None = None) -> Diff:
    """Compare every run with the first.

    Raises:
        InputError: There are not 2 to `MOST` runs; they are judged under several rubrics or headlines; or no suite
            stands in the first run and another one.
    """
    how = how or Resampling()
    _expect_comparable(sides)
    labels = [chr(ord("A") + i) for i in range(len(sides))]
    first, rows, pairings, areas = sides[0], [], [], []
    for label, other in zip(labels[1:], sides[1:], strict=True):
        for key in (key for key in first.suites if key in other.suites):
            pair = _Pair(first, other, key, (labels[0], label), how)
            pairings.append(pair.pairing)
            rows += pair.rows()
        areas += moved_aurocs(first, other, (labels[0], label), how)
    moved, aurocs = corrected(rows, areas)
    everywhere = set.intersection(*({*side.suites} for side in sides))
    names = sorted({key for side in sides for key in side.suites} - everywhere, key=lambda key: (key[1], key[0]))
    differs, alike = facts(sides)
    return Diff(
        headline=first.board.headline,
        rubric=first.tally.rubric,
        level=how.level,
        runs=[_run(label, side) for label, side in zip(labels, sides, strict=True)],
        moved=moved,
        pairings=pairings,
        alone={
            f"{suite} ({arm})": [
                label for label, side in zip(labels, sides, strict=True) if (arm, suite) in side.suites
            ]
            for arm, suite in names
        },
        differs=differs,
        alike=alike,
        notes=notes(sides, labels, pairings),
        aurocs=aurocs,
        aurocs_missing="" if aurocs else NO_AUROC,
    )


def _expect_comparable(sides: Sequence[Side]) -> None:
    if not 2 <= len(sides) <= MOST:
        raise InputError(f"{len(sides)} runs to compare; expected 2 to {MOST}")
    for what, values in (
        ("rubrics", [side.tally.rubric for side in sides]),
        ("headlines", [side.board.headline.value for side in sides]),
    ):
        found = list(dict.fromkeys(values))
        if len(found) > 1:
            raise InputError(
                f"the runs are judged under several {what} ({', '.join(found)}), so no rate of one means what it means "
                "in the other; judge all alike with --classifier and --rubric"
            )
    if not any(key in other.suites for other in sides[1:] for key in sides[0].suites):
        theirs = "; ".join(", ".join(sorted({suite for _, suite in side.suites})) for side in sides)
        raise InputError(f"the runs share no suite, so nothing can be compared ({theirs}); suites are matched by name")


@dataclass(frozen=True)
class _Values:
    """One measure of both runs, over the transcripts of one suite."""

    before: Sequence[float | None]
    after: Sequence[float | None]
    k: int | None = None


@dataclass(frozen=True)
class _Pair:
    """One suite in two runs."""

    first: Side
    second: Side
    key: Key
    labels: tuple[str, str]
    how: Resampling

    @cached_property
    def members(self) -> tuple[list[int], list[int]]:
        """Row numbers of the suite's transcripts in each board."""
        return self.first.board.members(*self.key), self.second.board.members(*self.key)

    @cached_property
    def pairing(self) -> Pairing:
        """Which transcripts are shared."""
        content, ids = self._shared
        sizes = (len(self.members[0]), len(self.members[1]))
        return Pairing(
            suite=self.key[1],
            arm=self.key[0],
            first=self.labels[0],
            second=self.labels[1],
            by_content=len(content),
            by_id=len(ids),
            total=sizes,
            paired=len(content) + len(ids) >= SHARED * min(sizes) > 0,
        )

    def rows(self) -> list[Moved]:
        """Every measure that both runs have."""
        compare = self._paired if self.pairing.paired else self._apart
        found = (compare(measure, values) for measure, values in self._measures().items() if values is not None)
        return [made for made in found if made is not None]

    @cached_property
    def _shared(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Pairs of places in `members`: those of the same content, and other ones of the same id and family."""
        boards, members = (self.first.board, self.second.board), self.members
        digests = [[board.measured[i].digest for i in rows] for board, rows in zip(boards, members, strict=True)]
        where = {digest: at for at, digest in enumerate(digests[1])}
        content = [(at, where[digest]) for at, digest in enumerate(digests[0]) if digest in where]
        names = [_names(board, rows) for board, rows in zip(boards, members, strict=True)]
        left, right = ({names[s][pair[s]] for pair in content} for s in (0, 1))
        counts = [Counter(some) for some in names]
        other = {name: at for at, name in enumerate(names[1]) if name not in right and counts[1][name] == 1}
        ids = [
            (at, other[name])
            for at, name in enumerate(names[0])
            if name in other and name not in left and counts[0][name] == 1
        ]
        return content, ids

    def _units(self, lane: str) -> tuple[list[Unit], list[Unit]] | None:
        if any(lane not in side.board.lanes for side in (self.first, self.second)):
            return None
        one, two = (
            [side.board.lanes[lane][i] for i in rows]
            for side, rows in zip((self.first, self.second), self.members, strict=True)
        )
        read = all(any(unit.judged_readings for unit in units) for units in (one, two))
        return (one, two) if read else None

    def _measures(self) -> dict[Measure, _Values | None]:
        measured, donor = self._units(Lane.MEASURED), self._units(Lane.DONOR)
        suites = (self.first.suites[self.key], self.second.suites[self.key])
        pairs = not any(suite.pairs_withheld for suite in suites)
        same = all(
            getattr(self.first.tally.identity, name, None) == getattr(self.second.tally.identity, name, None)
            for name in ("policy", "draws")
        )
        return {
            Measure.SAID: self._both(lambda side, i: _share(side.board.v[i].counted)) if pairs else None,
            Measure.PLACES: _of(measured, lambda unit: unit.fraction),
            Measure.ANY_OF_K: self._any_of_k(measured),
            Measure.UNVERBALIZED: self._both(_unsaid) if pairs and same and measured else None,
            Measure.DONOR: _of(donor, lambda unit: unit.fraction),
            Measure.JUDGED: _of(measured, _judged),
        }

    def _both(self, value: Callable[[Side, int], float | None]) -> _Values:
        """A value of each transcript of both runs, by its row number."""
        rows, others = self.members
        return _Values([value(self.first, i) for i in rows], [value(self.second, i) for i in others])

    def _any_of_k(self, units: tuple[list[Unit], list[Unit]] | None) -> _Values | None:
        if units is None:
            return None
        policies = [policy for side in (self.first, self.second) for policy in side.tally.policies]
        common = common_size(units, not all(policy.startswith(UNIFORM_POLICY) for policy in policies))
        before, after = ([_any_of(unit, common) for unit in side] for side in units)
        return _Values(before, after, common.k)

    def _paired(self, measure: Measure, values: _Values) -> Moved | None:
        units = [self.first.board.measured[i] for i in self.members[0]]
        content, ids = self._shared
        rows = [
            (one, two, units[i].cluster)
            for i, j in (*content, *ids)
            if (one := values.before[i]) is not None and (two := values.after[j]) is not None
        ]
        if not rows:
            return None
        before, after = [row[0] for row in rows], [row[1] for row in rows]
        clusters = [row[2] for row in rows]
        sums = totals(clusters, [b - a for a, b in zip(before, after, strict=True)], [1.0] * len(rows))
        test = sign_flip(sums[:, 0].round(9), self.how) if sums[:, 0].round(9).any() else None
        difference = paired_difference(after, before, clusters, self.how)
        p = None if test is None else test.p_value
        return self._row(measure, values, (before, clusters), (after, clusters), difference, p)

    def _apart(self, measure: Measure, values: _Values) -> Moved | None:
        sides = []
        for side, rows, of in zip((self.first, self.second), self.members, (values.before, values.after), strict=True):
            kept = [(v, side.board.measured[i].cluster) for v, i in zip(of, rows, strict=True) if v is not None]
            sides.append(([value for value, _ in kept], [cluster for _, cluster in kept]))
        (before, of_before), (after, of_after) = sides
        if not before or not after:
            return None
        difference = arm_difference(after, of_after, before, of_before, self.how)
        test = permutation_test(after, of_after, before, of_before, self.how)
        varies = len({*before, *after}) > 1
        p = test.p_value if test is not None and varies else None
        return self._row(measure, values, (before, of_before), (after, of_after), difference, p)

    def _row(
        self,
        measure: Measure,
        values: _Values,
        before: tuple[Sequence[float], Sequence[Hashable]],
        after: tuple[Sequence[float], Sequence[Hashable]],
        difference: Estimate,
        p: float | None,
    ) -> Moved:
        return Moved(
            suite=self.key[1],
            arm=self.key[0],
            first=self.labels[0],
            second=self.labels[1],
            measure=measure,
            paired=self.pairing.paired,
            transcripts=(len(before[0]), len(after[0])),
            before=cluster_mean(*before, self.how),
            after=cluster_mean(*after, self.how),
            difference=difference,
            p=p,
            change=change(difference),
            k=values.k,
        )


def _names(board: Board, rows: Sequence[int]) -> list[tuple[str, str]]:
    ids = board.found.transcripts["transcript_id"].to_list()
    return [(str(ids[i]), board.measured[i].family) for i in rows]


def _of(units: tuple[list[Unit], list[Unit]] | None, value: Callable[[Unit], float | None]) -> _Values | None:
    if units is None:
        return None
    before, after = ([value(unit) for unit in side] for side in units)
    return _Values(before, after)


def _unsaid(side: Side, i: int) -> float | None:
    return _share(unverbalized(side.board.measured[i], side.board.v[i]))


def _share(verdict: bool | None) -> float | None:
    return None if verdict is None else float(verdict)


def _judged(unit: Unit) -> float | None:
    return min(1.0, unit.judged_readings / (unit.planned * unit.draws)) if unit.planned else None


def _any_of(unit: Unit, common: Common) -> float | None:
    """Expected any-of-k at the common size; None if the transcript cannot supply it."""
    shares = summary_shares(unit.summary, common.wanted, common.draws)
    return None if shares is None else min(1.0, max(0.0, 1.0 - float(shares[0])))


def _run(label: str, side: Side) -> DiffRun:
    headline = side.board.headline
    suites = []
    for suite in side.tally.suites:
        under = suite.under(headline)
        measured, donor = under.lane(Lane.MEASURED), under.lane(Lane.DONOR)
        suites.append(
            RunSuite(
                suite=suite.suite,
                arm=suite.arm,
                transcripts=suite.transcripts,
                families=len(suite.families),
                k=measured.k_planned if measured else (0, 0),
                said=None if suite.pairs_withheld else under.verbalized.printed,
                places=measured.fraction if measured else None,
                donor=donor.fraction if donor else None,
                any_of_k=measured.any_of_k.printed if measured else None,
            )
        )
    frames = side.board.found.frames
    return DiffRun(
        label=label,
        name=side.name,
        transcripts=sum(suite.transcripts for suite in side.tally.suites),
        readings=frames.readings.height,
        suites=suites,
    )
