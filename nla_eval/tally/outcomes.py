"""Outcomes of everything planned over one denominator, what became of each lane, and AR scores by lane.

In: joined verdicts. Out: parts of a `Tally`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from ..judgement import Headline, Outcome
from ..readings import EXPLAINED, Lane, StopReason
from ..transcript import Arm
from .frames import outcome_under
from .types import LaneScores, LaneState, OutcomeCounts
from .units import Unit
from .verdicts import Verdicts

Suite = tuple[str, str]
"""Arm and suite."""
_SCORES = ("cos", "fve_nrm", "fve_meannorm", "matched_minus_shuffled")


class Denominators:
    """Counts of outcomes by suite and lane, made once for all suites."""

    def __init__(self, found: Verdicts, headline: Headline) -> None:
        self._found, self._headline = found, headline
        suites = found.transcripts.select("arm", "suite", "t")
        outcomes = found.readings.select("t", "lane", "stop", "position", outcome_under(headline).alias("seen"))
        place = (pl.col("stop") != StopReason.OUT_OF_CONTEXT.value) & (pl.col("position") >= 0)
        per_t = outcomes.group_by("t", "lane", "seen").agg(pl.len(), place.sum().alias("placed"))
        table = per_t.join(suites, on="t", how="inner")
        table = table.group_by("arm", "suite", "lane", "seen").agg(pl.col("len").sum(), pl.col("placed").sum())
        self._counts: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = {}
        for arm, suite, lane, seen, count, placed in table.iter_rows():
            self._counts.setdefault((arm, suite, lane), {})[seen] = (count, placed)

    def of(self, suite: Suite, lanes: Mapping[str, Sequence[Unit]]) -> list[OutcomeCounts]:
        """One denominator per lane that was read, then the turns and the recorded words.

        Args:
            suite: Which suite.
            lanes: Its units by lane.
        """
        out = []
        for lane, units in lanes.items():
            seen = self._counts.get((*suite, lane), {})
            if lane != Lane.MEASURED and not seen:
                continue
            planned = sum(u.planned * u.draws for u in units)
            total, placed = (sum(pair[i] for pair in seen.values()) for i in (0, 1))
            out.append(
                _counts(lane, {o: count for o, (count, _) in seen.items()}, max(planned, placed) + total - placed)
            )
        digests = [u.digest for u in lanes[Lane.MEASURED]]
        turns = self._found.turns.filter(pl.col("transcript_digest").is_in(digests) & ~pl.col("repeat"))
        recorded = self._found.recorded.filter(pl.col("transcript_digest").is_in(digests))
        return [*out, self._turns("turns", turns), self._turns("recorded words", recorded)]

    def states(self, lanes: Mapping[str, Sequence[Unit]]) -> dict[str, LaneState]:
        """Whether each lane of texts was read and judged in a suite with these units."""
        return {lane: _state(lanes.get(lane, ())) for lane in dict.fromkeys([*map(str, EXPLAINED), *lanes])}

    def _turns(self, of: str, rows: pl.DataFrame) -> OutcomeCounts:
        seen = rows.select(outcome_under(self._headline).alias("outcome"))["outcome"].value_counts()
        return _counts(of, dict(seen.iter_rows()), rows.height)


def _counts(of: str, seen: Mapping[str, int], planned: int) -> OutcomeCounts:
    counts = {outcome: seen.get(outcome.value, 0) for outcome in Outcome}
    return OutcomeCounts(of=of, planned=planned, counts=counts, missing=planned - sum(counts.values()))


def _state(units: Sequence[Unit]) -> LaneState:
    if any(unit.judged_readings for unit in units):
        return LaneState.JUDGED
    return LaneState.NOT_JUDGED if any(unit.read_positions for unit in units) else LaneState.NOT_READ


def lane_scores(found: Verdicts) -> list[LaneScores]:
    """AR scores, truncation and variety of texts, per arm and lane."""
    readings = found.frames.readings
    arms = found.transcripts.select("t", "arm").unique(maintain_order=True)
    wide = readings.select(pl.col("explanation", *_SCORES).gather(found.readings["row"]))
    rows = pl.concat([found.readings.select("t", "lane", "stop"), wide], how="horizontal").join(
        arms, on="t", how="inner"
    )
    closed = pl.col("stop") == StopReason.CLOSED.value
    table = rows.group_by("arm", "lane").agg(
        pl.len().alias("readings"),
        closed.sum().alias("closed"),
        (pl.col("stop") == StopReason.TRUNCATED.value).mean().alias("truncated_share"),
        pl.col("explanation").filter(closed).n_unique().alias("unique_texts"),
        pl.col("cos").count().alias("scored"),
        *(pl.col(name).filter(pl.col(name).is_finite()).sort().mean() for name in _SCORES),
    )
    found_rows = [LaneScores(**row) for row in table.to_dicts()]
    return sorted(found_rows, key=lambda s: (s.arm != Arm.EVALUATION, s.arm, s.lane != "measured", s.lane))
