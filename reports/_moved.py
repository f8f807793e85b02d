"""The sentences and tables of a comparison of runs. They format fields of a `Diff` and compute no number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nla_eval.readings import Lane
from nla_eval.stats.interval import Estimate
from nla_eval.tally.types_diff import Against, Change, Diff, DiffRun, Measure, Moved, MovedAuroc, Pairing, RunSuite
from nla_eval.transcript import Arm

from ._beside import plain
from ._drawing import Drawing
from ._figures import Panel, Row, forest
from ._format import (
    MISSING,
    count,
    number,
    p_value,
    percent,
    plural,
    points,
    span,
    spoken,
    with_interval,
    words,
)

NAMED = 3
"""Rates that the finding names at most."""
MARKS = {Change.UP: "▲", Change.DOWN: "▼", Change.UNSURE: "△", Change.NONE: "–", Change.OPEN: "?"}
"""A shape for each, so that colour is never alone."""
MEANING = {
    Measure.SAID: "transcripts in which the target says so (V)",
    Measure.PLACES: "places whose explanation says so",
    Measure.ANY_OF_K: "transcripts with an explanation that says so, at a common k (N)",
    Measure.UNVERBALIZED: "transcripts with N and not V",
    Measure.DONOR: "places with activations of ordinary chats put in (control)",
    Measure.JUDGED: "planned readings that could be judged",
}
Table = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Top:
    """What stands above the tables."""

    title: str
    status: str
    clear: bool
    """Whether any rate moved."""
    finding: list[str]


def top(diff: Diff) -> Top:
    """Title, status and finding."""
    moved = [row for row in diff.moved if row.clear]
    aurocs = [row for row in diff.aurocs if row.clear]
    status = f"{len(moved)} of {plural(len(diff.moved), 'rate')} moved"
    status += f", {len(aurocs)} of {plural(len(diff.aurocs), 'AUROC')}" if diff.aurocs else ""
    pairs = list(dict.fromkeys((row.first, row.second) for row in diff.moved))
    named = [f"{run.label} is {run.name}" for run in diff.runs]
    finding = [f"{'; '.join(named)}.", *(said for pair in pairs for said in _found(diff.between(*pair), *pair))]
    finding += [_area(row) for row in aurocs[:NAMED]]
    return Top(f"What moved between {words(run.label for run in diff.runs)}", status, bool(moved or aurocs), finding)


def moved_table(diff: Diff, first: str, second: str) -> Table:
    """Every rate of one pair of runs."""
    heads = ["Suite", "Rate", "Verdict", "Difference, points", first, second, "Compared", "p", "Holm p"]
    rows = [
        [
            f"{row.suite} ({row.arm})",
            row.measure.value + (f" (k {row.k})" if row.k is not None else ""),
            f"{MARKS[row.change]} {_verdict(row)}",
            points(row.difference),
            with_interval(row.before),
            with_interval(row.after),
            _compared(row),
            p_value(row.p),
            p_value(row.holm_p),
        ]
        for row in diff.between(first, second)
    ]
    return heads, rows


def auroc_table(diff: Diff, first: str, second: str) -> Table:
    """Every AUROC of one pair of runs; no rows without one."""
    heads = ["Suite", "Told from", "By", "Verdict", "Difference", first, second, "Families in both", "p", "Holm p"]
    rows = [
        [
            f"{row.suite} ({row.arm})",
            row.against.value,
            _reader(row),
            f"{MARKS[row.change]} {row.change.value}",
            plain(row.difference, signed=True),
            plain(row.before),
            plain(row.after),
            _both(row),
            p_value(row.p),
            p_value(row.holm_p),
        ]
        for row in diff.aurocs_between(first, second)
    ]
    return heads, rows


def auroc_limits(diff: Diff) -> list[str]:
    """Why intervals of differences are missing, and what was left out; or why there is no AUROC."""
    if diff.aurocs_missing:
        return [f"No AUROC is compared: {diff.aurocs_missing}."]
    said = []
    for row in diff.aurocs:
        name = f"{row.suite} told from {row.against.value} by {_reader(row)}, {row.first} to {row.second}"
        if row.difference.withheld:
            said.append(f"{name}: no interval of the difference: {row.difference.withheld}.")
        if row.paired and any(row.left_out):
            said.append(f"{name}: families of one run alone, left out: {count(sum(row.left_out))}.")
    return list(dict.fromkeys(said))


def key_table(diff: Diff) -> Table:
    """The rates of every run, as its own report has them."""
    heads = ["Suite", "Run", "n", "Said", "Read, places", "Control, places", "N, any of k", "k"]
    rows = [
        [
            name,
            run.label,
            count(suite.transcripts),
            _shown(suite.said),
            _shown(suite.places),
            _shown(suite.donor),
            _shown(suite.any_of_k),
            span(*suite.k),
        ]
        for name, found in _by_suite(diff)
        for run, suite in found
    ]
    return heads, rows


def facts_table(diff: Diff) -> Table:
    """What differs in provenance."""
    return ["", *(run.label for run in diff.runs)], [[fact.name, *fact.values] for fact in diff.differs]


def alike_table(diff: Diff) -> Table:
    """What does not."""
    return ["", "All runs"], [[fact.name, fact.values[0]] for fact in diff.alike]


def pairing_table(diff: Diff) -> Table:
    """Which transcripts were compared with which."""
    heads = ["Suite", "Runs", "Same content", "Same id and family", "All in either run", "Compared as"]
    rows = [
        [
            f"{p.suite} ({p.arm})",
            f"{p.first}, {p.second}",
            count(p.by_content),
            count(p.by_id),
            f"{count(p.total[0])} and {count(p.total[1])}",
            _pairing(p),
        ]
        for p in diff.pairings
    ]
    return heads, rows


def alone(diff: Diff) -> list[str]:
    """Suites that are not in every run."""
    return [f"{suite}, in {words(labels)} only" for suite, labels in diff.alone.items()]


def figure(diff: Diff) -> Drawing:
    """The places aware in every run, suite by suite: the figure of the first screen."""
    order = [run.label for run in diff.runs]
    rows = []
    for name, found in _by_suite(diff):
        by_run = {run.label: suite.places for run, suite in found}
        rows.append(Row(name, [by_run.get(label) for label in order]))
    return forest("runs", "Places aware, by suite and run", [Panel("places aware", order, rows)], order, width=6.2)


def _by_suite(diff: Diff) -> Iterator[tuple[str, list[tuple[DiffRun, RunSuite]]]]:
    """Suites by name, ordinary chats last, each with the runs that have it."""
    every = {(suite.arm == Arm.DEPLOYMENT, suite.suite, suite.arm) for run in diff.runs for suite in run.suites}
    for _, name, arm in sorted(every):
        found = [(run, s) for run in diff.runs for s in run.suites if (s.suite, s.arm) == (name, arm)]
        yield (f"{name} (ordinary)" if arm == Arm.DEPLOYMENT else name), found


def _found(rows: Sequence[Moved], first: str, second: str) -> Iterator[str]:
    moved = [row for row in rows if row.clear]
    moved.sort(key=lambda row: -abs(row.difference.value or 0.0))
    if moved:
        named = [f"{row.measure.value} in {row.suite} {points(row.difference)}" for row in moved[:NAMED]]
        more = f", and {plural(len(moved) - NAMED, 'more rate')}" if len(moved) > NAMED else ""
        yield f"From {first} to {second}, in percentage points: {'; '.join(named)}{more}."
    else:
        ends = [abs(end) for r in rows for end in (r.difference.low, r.difference.high) if end is not None]
        room = f" The intervals leave room for up to {percent(max(ends))} of difference." if ends else ""
        yield f"From {first} to {second} no rate moved clearly.{room}"
    unsure = sum(row.change is Change.UNSURE for row in rows)
    if unsure:
        yield f"{count(unsure)} more by the interval alone, not after Holm's correction."
    yield from _with_control(rows)


def _with_control(rows: Sequence[Moved]) -> Iterator[str]:
    """Suites in which the control lane moved the same way as the measured one."""
    control = {(row.suite, row.arm): row.change for row in rows if row.measure is Measure.DONOR}
    both = [
        row.suite
        for row in rows
        if row.measure is Measure.PLACES and row.clear and control.get((row.suite, row.arm)) is row.change
    ]
    if both:
        yield f"In {words(both)} the control lane moved the same way: the change may lie in the instrument."


def _area(row: MovedAuroc) -> str:
    """What an AUROC that moved did."""
    what = f"AUROC of {row.suite} against {row.against.value}, by {_reader(row)}"
    ends = f"{number(row.before.value)} in {row.first}, {number(row.after.value)} in {row.second}"
    return f"{what}: {ends}; difference {plain(row.difference, signed=True)}."


def _reader(row: MovedAuroc) -> str:
    if row.lane == Lane.MEASURED:
        return f"N, share of {row.k} places"
    named = " and ".join(dict.fromkeys(filter(None, row.readers)))
    places = f", share of {row.k} places" if row.k is not None else ""
    return spoken(row.lane) + (f" ({named})" if named else "") + places


def _both(row: MovedAuroc) -> str:
    one, two = row.families
    return count(one) if row.against is Against.NO_CUE else f"{count(one)} and {count(two)}"


def _compared(row: Moved) -> str:
    one, two = row.transcripts
    return f"{count(one)} pairs" if row.paired else f"{count(one)} and {count(two)}, unpaired"


def _verdict(row: Moved) -> str:
    withheld = row.difference.withheld
    return f"{row.change.value}: {withheld}" if row.change is Change.OPEN and withheld else row.change.value


def _pairing(p: Pairing) -> str:
    if not p.paired:
        return "independent samples"
    return f"pairs; {plural(p.left_out, 'transcript')} left out" if p.left_out else "pairs"


def _shown(estimate: Estimate | None) -> str:
    return MISSING if estimate is None else with_interval(estimate)
