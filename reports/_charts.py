"""Which figures a report has, made from a tally: the data of each, and nothing drawn yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nla_eval.judgement import Outcome
from nla_eval.readings import DISPLAYED, Lane
from nla_eval.stats.interval import Estimate
from nla_eval.tally.types import SuiteTally, Tally
from nla_eval.tally.where import Cut, Recurrence
from nla_eval.transcript import Arm

from ._beside import gain_figure, sensitivity_figure
from ._drawing import Drawing
from ._figures import Curve, Mosaic, Panel, Row, Stack, forest, k_curves, mosaics, stacks

_SAID = "said (V)"
_OUTCOMES = (*(outcome.value.lower().replace("_", " ") for outcome in Outcome), "not read")


def charts(tally: Tally) -> dict[str, Drawing]:
    """The figures of a tally by name, in the order of the report; those without data are left out."""
    return {drawing.name: drawing for drawing in _charts(tally)}


def _charts(tally: Tally) -> Iterator[Drawing]:
    read = [s for s in tally.suites if s.under(tally.primary).lane(Lane.MEASURED) is not None]
    if read:
        yield _key(tally, read)
        yield _lanes(tally, read)
        yield _outcomes(read)
    paired = [_mosaic(tally, s) for s in read if not s.pairs_withheld and s.under(tally.primary).pairs.decided]
    if paired:
        yield mosaics(paired)
    curves = [
        Curve(f"{suite.suite}, {lane.lane}", lane.k_curve, suite=index, dashed=lane.lane != Lane.MEASURED)
        for index, suite in enumerate(tally.suites)
        for lane in suite.under(tally.primary).lanes
        if lane.lane in DISPLAYED and lane.k_curve
    ]
    if curves:
        yield k_curves(curves)
    gains = None if tally.readers is None else gain_figure(tally.readers)
    varied = None if tally.sensitivity is None else sensitivity_figure(tally.sensitivity)
    yield from (drawing for drawing in (gains, varied) if drawing is not None)
    if tally.where is not None and tally.where.depth:
        yield _cuts(
            "where",
            "Where in a transcript",
            [
                ("depth in the transcript", tally.where.depth),
                ("channel", tally.where.channel),
                ("turn", tally.where.turn),
            ],
        )
        if tally.where.score:
            yield _cuts("score", "Awareness by AR score", [("AR cosine, fifths", tally.where.score)])
        if any(r.flagged for r in tally.where.recurrence):
            yield _recurrence(tally.where.recurrence)


def _key(tally: Tally, suites: Sequence[SuiteTally]) -> Drawing:
    """Fractions alone, largest first and ordinary chats last: the figure of the first screen."""
    lanes = {display.legend: lane for lane, display in DISPLAYED.items()}
    found = [(suite, [suite.under(tally.primary).lane(lane) for lane in lanes.values()]) for suite in suites]
    found.sort(key=lambda pair: (pair[0].arm == Arm.DEPLOYMENT, -((pair[1][0] and pair[1][0].fraction.value) or 0.0)))
    rows = [Row(_named(suite), [lane.fraction if lane else None for lane in each]) for suite, each in found]
    return forest("key", "Places aware, by suite", [Panel("places aware", [*lanes], rows)], [*lanes], width=5.4)


def _named(suite: SuiteTally) -> str:
    return f"{suite.suite} (ordinary)" if suite.arm == Arm.DEPLOYMENT else suite.suite


def _lanes(tally: Tally, suites: Sequence[SuiteTally]) -> Drawing:
    lanes = {display.legend: lane for lane, display in DISPLAYED.items()}
    fractions, flags = [], []
    for suite in suites:
        under = suite.under(tally.primary)
        found = [under.lane(lane) for lane in lanes.values()]
        name = _named(suite)
        fractions.append(Row(name, [lane.fraction if lane else None for lane in found]))
        said: Estimate | None = None if suite.pairs_withheld else under.verbalized.printed
        flags.append(Row(name, [*(lane.any_of_k.printed if lane else None for lane in found), said]))
    panels = [
        Panel("places aware", [*lanes], fractions),
        Panel("transcripts aware at any place, or saying so", [*lanes, _SAID], flags),
    ]
    return forest("lanes", "Measured, control and said, by suite", panels, [*lanes, _SAID])


def _outcomes(suites: Sequence[SuiteTally]) -> Drawing:
    bars = [
        Stack(f"{suite.suite}, {row.of}", [*(row.counts.get(o, 0) for o in Outcome), max(0, row.missing)])
        for suite in suites
        for row in suite.denominators
        if row.planned
    ]
    return stacks(bars, _OUTCOMES)


def _mosaic(tally: Tally, suite: SuiteTally) -> Mosaic:
    under = suite.under(tally.primary)
    donor = under.lane(Lane.DONOR)
    table = under.pairs
    return Mosaic(
        suite.suite,
        table.both,
        table.n_only,
        table.v_only,
        table.neither,
        donor.any_of_k.rate.value if donor is not None else None,
    )


def _cuts(name: str, title: str, cuts: Sequence[tuple[str, Sequence[Cut]]]) -> Drawing:
    arms = list(dict.fromkeys(cut.arm for _, found in cuts for cut in found))
    panels = []
    for heading, found in cuts:
        rates = {(cut.arm, cut.group): cut.rate for cut in found}
        groups = sorted({cut.group for cut in found}, key=_natural)
        panels.append(Panel(heading, arms, [Row(g, [rates.get((arm, g)) for arm in arms]) for g in groups]))
    return forest(name, title, [panel for panel in panels if panel.rows], arms)


def _natural(group: str) -> tuple[int, str]:
    first = group.split(" ")[0]
    return (int(first), group) if first.isdigit() else (-1, group)


def _recurrence(rows: Sequence[Recurrence]) -> Drawing:
    legend = tuple(f"{name} aware places" for name in rows[0].groups)
    bars = [
        Stack(f"{row.arm}, {row.lane} ({row.flagged} of {row.transcripts})", list(row.groups.values()))
        for row in rows
        if row.flagged and (row.lane in DISPLAYED or row.arm == Arm.DEPLOYMENT)
    ]
    made = stacks(bars, legend)
    return Drawing(
        "recurrence",
        "How often a flag recurs in its transcript",
        "Flagged transcripts by their number of aware places, one bar per arm and lane.",
        ("Arm, lane (flagged of read)", *legend, "All"),
        made.rows,
        made.draw,
    )
