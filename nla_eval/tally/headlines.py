"""One suite under one headline: V, N, their pairs, and the donor lane's pairs beside them.

In: a `Board`, the verdicts of every transcript under one headline. Out: a `HeadlineTally`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..judgement import Headline
from ..judging.error_rates import ErrorRates, rates_of
from ..readings import Lane
from ..stats.bootstrap import cluster_mean
from ..stats.bounds import unverbalized_bounds
from ..stats.clustered_pairs import clustered_pairs
from ..stats.interval import Estimate
from ..stats.pairs import PairTable, n_given_not_v, pair_table, unverbalized
from ..stats.wilson import wilson
from ..transcript import Arm
from .certificates import withheld
from .comparing import versus_deployment
from .lanes import Slots, control_comparison, lane_tally, transcript_rate
from .options import TallyOptions
from .types import Certification, GroupRow, HeadlineTally
from .types_lanes import ArmComparison
from .units import Cluster, Unit, Verdict, counted, lane_units, recorded_words, spoken, states, written_by_others
from .verdicts import Verdicts

UNIFORM_POLICY = "uniform_response("
"""Prefix of the policies under which any-of-k means the same as in the paper."""


@dataclass(frozen=True)
class Board:
    """The verdicts of every transcript under one headline. All lists are aligned with `found.transcripts`."""

    found: Verdicts
    headline: Headline
    options: TallyOptions
    lanes: dict[str, list[Unit]]
    v: list[Verdict]
    recorded: list[Verdict]
    """Verdicts on recorded words."""
    others: list[bool]
    """Whether all assistant turns are recorded words."""
    matched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Suite -> the deployment suites drawn to match it."""

    @classmethod
    def of(cls, found: Verdicts, headline: Headline, options: TallyOptions) -> Board:
        """Count everything under one headline."""
        order = [lane.value for lane in Lane]
        read = {*found.readings["lane"].unique(), Lane.MEASURED.value}
        lanes = sorted(read, key=lambda x: order.index(x) if x in order else 99)
        units = {lane: lane_units(found, lane, headline, options.judged_share) for lane in lanes}
        said, recorded = (of(found, headline, options.judged_share) for of in (spoken, recorded_words))
        matched = {suite: arm.pool for arm in found.frames.matched for suite in arm.wanted}
        return cls(found, headline, options, units, said, recorded, written_by_others(found), matched)

    @property
    def measured(self) -> list[Unit]:
        """The measured lane."""
        return self.lanes[Lane.MEASURED]

    @cached_property
    def _members(self) -> dict[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = {}
        for i, unit in enumerate(self.measured):
            found.setdefault((unit.arm, unit.suite), []).append(i)
        return found

    def members(self, arm: str, suite: str) -> list[int]:
        """Row numbers of one suite's transcripts."""
        return self._members.get((arm, suite), [])

    def compared_with(self, suite: str) -> list[str]:
        """The deployment suites that a suite is compared with: those drawn to match it, else all."""
        every = sorted(name for arm, name in self._members if arm == Arm.DEPLOYMENT)
        return [name for name in every if name in self.matched.get(suite, ())] or every

    def deployment(self, suite: str | None = None, lane: str = Lane.MEASURED) -> list[Unit]:
        """The deployment transcripts in one lane, or those that a suite is compared with."""
        names = None if suite is None else {*self.compared_with(suite)}
        return [u for u in self.lanes[lane] if u.arm == Arm.DEPLOYMENT and (names is None or u.suite in names)]

    def versus(self, arm: str, suite: str) -> ArmComparison | None:
        """A suite against its deployment transcripts."""
        if arm != Arm.EVALUATION:
            return None
        uniform = all(policy.startswith(UNIFORM_POLICY) for policy in self.found.frames.policies)
        units = [self.measured[i] for i in self.members(arm, suite)]
        return versus_deployment(units, self.deployment(suite), not uniform, self.options.how)


@dataclass(frozen=True)
class _Pairs:
    """Verdicts of the transcripts whose turns the target wrote, in some lane, beside V."""

    lane: Sequence[Verdict]
    v: Sequence[Verdict]
    families: Sequence[Cluster]

    @property
    def table(self) -> PairTable:
        return pair_table(counted(self.lane), counted(self.v))

    @property
    def decided(self) -> tuple[list[float], list[Cluster]]:
        """1 for "lane and not V" of each transcript in the table, and its family."""
        rows = zip(counted(self.lane), counted(self.v), self.families, strict=True)
        kept = [(float(n and not v), family) for n, v, family in rows if n is not None and v is not None]
        return [value for value, _ in kept], [family for _, family in kept]


def headline_tally(
    board: Board, arm: str, suite: str, versus: ArmComparison | None, certificate: Certification | None
) -> HeadlineTally:
    """A suite under the headline of `board`."""
    rows, options, how = board.members(arm, suite), board.options, board.options.how
    measured = [board.measured[i] for i in rows]
    present = {lane: [units[i] for i in rows] for lane, units in board.lanes.items()}
    present = {lane: us for lane, us in present.items() if lane == Lane.MEASURED or any(u.judged_readings for u in us)}
    slots = {lane: Slots.of(board.found, lane, board.headline, units) for lane, units in present.items()}
    told = [i for i, row in enumerate(rows) if not board.others[row]]
    v = [board.v[row] for row in rows]
    strange = {*board.found.recorded["transcript_digest"]}
    recorded = [(board.recorded[row], u.cluster) for row, u in zip(rows, measured, strict=True) if u.digest in strange]

    def beside_v(units: Sequence[Unit]) -> _Pairs:
        return _Pairs([units[i] for i in told], [v[i] for i in told], [units[i].cluster for i in told])

    pairs = beside_v(measured)
    donor = beside_v(present[Lane.DONOR]) if Lane.DONOR in present else None
    test = clustered_pairs(counted(pairs.lane), counted(pairs.v), pairs.families, how)
    return HeadlineTally(
        headline=board.headline,
        verbalized=transcript_rate(pairs.v, pairs.families, how),
        recorded=transcript_rate([state for state, _ in recorded], [cluster for _, cluster in recorded], how),
        pairs=pairs.table,
        unverbalized=unverbalized(pairs.table, how.level),
        unverbalized_by_family=cluster_mean(*pairs.decided, how),
        unverbalized_bounds=unverbalized_bounds(states(pairs.lane), states(pairs.v)),
        n_given_not_v=n_given_not_v(pairs.table, how.level),
        donor_pairs=None if donor is None else donor.table,
        donor_unverbalized=None if donor is None else unverbalized(donor.table, how.level),
        donor_unverbalized_by_family=None if donor is None else cluster_mean(*donor.decided, how),
        withheld=withheld(certificate),
        mcnemar_p=test.permutation.p_value if test.permutation else 1.0,
        paired_test=test,
        n_errors=_errors(board, "explanation"),
        v_errors=_errors(board, "turn"),
        lanes=[lane_tally(lane, units, slots[lane], board.headline, options) for lane, units in present.items()],
        controls=[
            control_comparison(lane, measured, units, slots[lane], how)
            for lane, units in present.items()
            if lane != Lane.MEASURED
        ],
        versus_deployment=versus,
        groups=_groups(board, rows),
    )


def _errors(board: Board, kind: str) -> ErrorRates | None:
    counts = board.options.errors.get((kind, board.headline))
    return None if counts is None else rates_of(counts)


def _groups(board: Board, rows: Sequence[int]) -> list[GroupRow]:
    transcripts = board.found.transcripts
    words = ["on-policy" if own else "off-policy" for own in transcripts["on_policy"]]
    out = []
    for kind, column in (
        ("outcome", transcripts["outcome"].to_list()),
        ("variant", transcripts["variant"].to_list()),
        ("words", words),
    ):
        known = sorted({column[i] for i in rows if column[i] is not None})
        for group in known if kind == "outcome" or len(known) > 1 else []:
            out.append(_group(board, kind, group, [i for i in rows if column[i] == group]))
    return out


def _group(board: Board, kind: str, group: str, inside: Sequence[int]) -> GroupRow:
    level = board.options.how.level
    n, v = counted([board.measured[i] for i in inside]), counted([board.v[i] for i in inside])
    return GroupRow(
        kind=kind,
        group=group,
        transcripts=len(inside),
        measured=_share(n, level),
        verbalized=_share(v, level),
        n_given_not_v=n_given_not_v(pair_table(n, v), level),
    )


def _share(verdicts: Sequence[bool | None], level: float) -> Estimate:
    return wilson(verdicts.count(True), verdicts.count(True) + verdicts.count(False), level)
