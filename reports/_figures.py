"""The kinds of figures of a report, wide and narrow.

Every figure has a title, a description and a data table, and differs by marker or hatch as well as by colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nla_eval.stats.anyk import KPoint
from nla_eval.stats.interval import Estimate

from ._drawing import FAINT, INK, NARROW, PAPER, SERIES, WIDE, Drawing, canvas, despine
from ._format import count, interval, percent, visible

_MARKERS = ("o", "s", "^", "D", "v", "P")
_HATCHES = ("", "//", "--", "xx", "\\\\", "++", "||", "/")
"""Lines only: a hatch of dots makes a file of hundreds of kilobytes."""
_SHADES = (1, 5, 3, 6, 2, 4, 5, 5)
_APART = 0.15
"""Distance of a row's outermost lanes from its middle."""
_LEAST = 0.10
"""An axis of shares reaches at least this far."""


@dataclass(frozen=True)
class Row:
    """One line of a forest plot."""

    name: str
    series: list[Estimate | None]
    """One estimate per series; None if it was not read."""


@dataclass(frozen=True)
class Panel:
    """One panel of a forest plot: the same rows in one quantity."""

    title: str
    labels: list[str]
    """Names of the series, which decide marker and colour."""
    rows: list[Row]


@dataclass(frozen=True)
class Shift:
    """One difference from zero."""

    name: str
    estimate: Estimate
    value: str
    """The difference as text, with its interval."""
    marked: str = ""
    """A word for a row that stands out: it has another marker and colour, and this word in the table."""


@dataclass(frozen=True)
class ShiftPanel:
    """Differences of one suite, or of one pair of runs."""

    title: str
    rows: list[Shift]


@dataclass(frozen=True)
class Curve:
    """One k-curve: colour and marker by suite, dashed for a control."""

    name: str
    points: list[KPoint]
    suite: int
    """Index of the suite, from 0."""
    dashed: bool = False


@dataclass(frozen=True)
class Stack:
    """One bar of shares of a whole."""

    name: str
    counts: list[int]
    """In the order of the legend."""


@dataclass(frozen=True)
class Mosaic:
    """One suite's pairs: transcripts by said and measured, and the control's rate."""

    name: str
    both: int
    n_only: int
    v_only: int
    neither: int
    control: float | None
    """Any-of-k rate of the donor lane."""


def forest(name: str, title: str, panels: Sequence[Panel], order: Sequence[str], width: float = WIDE) -> Drawing:
    """Dots with intervals, one row per suite; hollow if the interval is withheld.

    Args:
        name: Salt and file name.
        title: Title of the figure.
        panels: Shown side by side, or below each other when narrow.
        order: All series, in the order of markers and colours.
        width: In inches, unless narrow.
    """
    rows = [
        (panel.title, row.name, label, percent(e.value), interval(e) or "withheld", count(e.n))
        for panel in panels
        for row in panel.rows
        for label, e in zip(panel.labels, row.series, strict=True)
        if e is not None and e.value is not None
    ]

    def draw(narrow: bool) -> Figure:
        tall = max(len(panel.rows) for panel in panels)
        step = 0.6 if tall <= 4 else 0.42
        size = (NARROW, 0.9 + len(panels) * (0.55 + step * tall)) if narrow else (width, 0.9 + step * tall)
        alike = len({tuple(row.name for row in panel.rows) for panel in panels}) == 1
        figure, axes = canvas(len(panels), size, narrow, share_rows=alike and not narrow)
        for ax, panel in zip(axes, panels, strict=True):
            _forest_panel(ax, panel, order, narrow)
        handles = [
            axes[0].plot([], [], marker=_MARKERS[i], color=SERIES[i], linestyle="", label=label)[0]
            for i, label in enumerate(order)
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=1 if narrow or width < WIDE else len(order),
            frameon=False,
            labelcolor=INK,
        )
        return figure

    columns = ("Quantity", "Suite", "Series", "Value", "95 % interval", "n")
    describe = f"{', '.join(p.title for p in panels)}, one row per suite, with 95 % intervals."
    return Drawing(name, title, describe, columns, tuple(rows), draw)


def shifts(name: str, title: str, panels: Sequence[ShiftPanel], axis: str, scale: float, marked: str) -> Drawing:
    """Differences with intervals around a line at zero, panels below each other.

    Args:
        name: Salt and file name.
        title: Title of the figure.
        panels: Rows without a value are left out of the figure and stay in its table.
        axis: Label of the axis, with its unit.
        scale: What a difference is multiplied by in the figure: 100 for percentage points.
        marked: What the other marker means; empty if no row can have it.
    """
    rows = [(p.title, row.name, row.value, count(row.estimate.n), row.marked) for p in panels for row in p.rows]

    def draw(narrow: bool) -> Figure:
        shown = [[row for row in panel.rows if row.estimate.value is not None] for panel in panels]
        heights = [max(1, len(some)) for some in shown]
        size = (NARROW if narrow else 7.6, 0.9 + sum(0.5 + 0.26 * n for n in heights))
        figure, axes = canvas(1, size, True, lines=len(panels), heights=heights)
        ends = [abs(end) for some in shown for row in some for end in _ends(row.estimate)]
        reach = 1.06 * scale * max([_LEAST, *ends])
        for ax, panel, some in zip(axes, panels, shown, strict=True):
            ax.axvline(0, color=INK, linewidth=0.8)
            for at, row in enumerate(some):
                _dot(ax, _scaled(row.estimate, scale), at, 1 if row.marked else 0)
            ax.set_title(_short(panel.title, 28 if narrow else 60), fontsize=10, loc="left", parse_math=False)
            _names(ax, [row.name for row in some], narrow, 44)
            ax.set_xlim(-reach, reach)
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.grid(axis="x", color=FAINT, linewidth=0.4, linestyle=":")
            despine(ax, left=True)
        axes[-1].set_xlabel(axis)
        if any(row.marked for some in shown for row in some):
            handle = axes[0].plot([], [], marker=_MARKERS[1], color=SERIES[1], linestyle="", label=marked)
            figure.legend(handles=handle, loc="outside lower center", frameon=False, labelcolor=INK)
        return figure

    describe = f"{axis}, one row each, with 95 % intervals around a line at zero."
    columns = ("Of", "Row", "Difference", "n", marked.capitalize() or "Mark")
    return Drawing(name, title, describe, columns, tuple(rows), draw)


def _ends(estimate: Estimate) -> list[float]:
    return [end for end in (estimate.value, estimate.low, estimate.high) if end is not None]


def _scaled(estimate: Estimate, scale: float) -> Estimate:
    value, low, high = (None if x is None else x * scale for x in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.n, estimate.method, estimate.withheld)


def k_curves(curves: Sequence[Curve]) -> Drawing:
    """The share of transcripts with at least one aware position among k, plotted against k.

    A curve stops where its transcripts change, so that it never falls.
    """
    kept = [Curve(c.name, _same_transcripts(c.points), c.suite, c.dashed) for c in curves]
    rows = [(c.name, str(p.k), percent(p.rate), str(p.transcripts)) for c in kept for p in _few(c.points)]

    def draw(narrow: bool) -> Figure:
        figure, (ax,) = canvas(1, (NARROW, 3.6 + 0.2 * len(kept)) if narrow else (7.6, 3.3), narrow)
        for curve in kept:
            colour = SERIES[curve.suite % len(SERIES)]
            ax.plot(
                [p.k for p in curve.points],
                [p.rate for p in curve.points],
                color=colour,
                marker=_MARKERS[curve.suite % len(_MARKERS)],
                markersize=4,
                markerfacecolor="none" if curve.dashed else colour,
                linewidth=1.3,
                linestyle="--" if curve.dashed else "-",
                label=visible(curve.name),
            )
        ax.set_xlabel("k positions, without replacement")
        ax.set_ylabel("any of k aware")
        _share_axis(ax, "y", max((p.rate for c in kept for p in c.points), default=0))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        place: Any = "outside lower center" if narrow else "outside right upper"
        legend = figure.legend(loc=place, frameon=False, labelcolor=INK)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return figure

    title = "How any-of-k grows with k"
    describe = "Probability that at least one of k positions is aware, by suite and lane; controls dashed and hollow."
    return Drawing("k-curve", title, describe, ("Suite, lane", "k", "Any of k", "Transcripts"), tuple(rows), draw)


def stacks(bars: Sequence[Stack], legend: Sequence[str]) -> Drawing:
    """Shares of all planned judgements by outcome, one bar per suite and lane, on one denominator."""
    used = [i for i in range(len(legend)) if any(bar.counts[i] for bar in bars)]
    rows = [(bar.name, *(count(n) for n in bar.counts), count(sum(bar.counts))) for bar in bars]

    def draw(narrow: bool) -> Figure:
        figure, (ax,) = canvas(1, (NARROW if narrow else WIDE, 1.0 + 0.36 * len(bars)), narrow)
        for at, bar in enumerate(bars):
            left, total = 0.0, sum(bar.counts) or 1
            for i in used:
                width = bar.counts[i] / total
                ax.barh(at, width, 0.62, left, color=SERIES[_SHADES[i % 8] - 1] if i != 1 else PAPER,
                        hatch=_HATCHES[i % 8], edgecolor=FAINT if i == 1 else PAPER, linewidth=0.8)  # fmt: skip
                left += width
        _names(ax, [bar.name for bar in bars], narrow)
        _share_axis(ax, "x", 1.0)
        handles = [
            mpl.patches.Patch(
                facecolor=SERIES[_SHADES[i % 8] - 1] if i != 1 else PAPER,
                hatch=_HATCHES[i % 8],
                edgecolor=FAINT if i == 1 else PAPER,
                label=legend[i],
            )
            for i in used
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=2 if narrow else min(6, max(1, len(used))),
            frameon=False,
            labelcolor=INK,
        )
        return figure

    columns = ("Suite, lane", *legend, "All")
    describe = "Share of planned judgements by outcome, one bar per suite and lane."
    return Drawing("outcomes", "Outcomes of all planned judgements", describe, columns, tuple(rows), draw)


def mosaics(suites: Sequence[Mosaic]) -> Drawing:
    """Transcripts by said (width) and measured (height), with the control's rate as a dashed line."""
    rows = [(m.name, *(str(n) for n in (m.both, m.n_only, m.v_only, m.neither)), percent(m.control)) for m in suites]

    def draw(narrow: bool) -> Figure:
        columns = min(len(suites), 1 if narrow else 4)
        lines = -(-len(suites) // columns)
        width = NARROW if narrow else min(WIDE, 0.6 + 2.4 * columns)
        figure, axes = canvas(columns, (width, 2.5 * lines), False, lines=lines)
        for ax, mosaic in zip(axes, suites, strict=False):
            _mosaic(ax, mosaic)
        for ax in axes[len(suites) :]:
            ax.set_axis_off()
        return figure

    columns = ("Suite", "N and V", "N, not V", "V, not N", "Neither", "Control, any of k")
    describe = (
        "Each square is the transcripts of a suite: left the share that says so, right the rest; filled the share that "
        "is measured as aware; the dashed line is the control's rate."
    )
    return Drawing("pairs", "Measured against said", describe, columns, tuple(rows), draw)


def _forest_panel(ax: Axes, panel: Panel, order: Sequence[str], narrow: bool) -> None:
    spread = max(1, len(panel.labels) - 1)
    highest = 0.0
    for at, row in enumerate(panel.rows):
        for i, (label, estimate) in enumerate(zip(panel.labels, row.series, strict=True)):
            if estimate is None or estimate.value is None:
                continue
            offset = _APART * (2 * i / spread - 1) if len(panel.labels) > 1 else 0.0
            _dot(ax, estimate, at + offset, order.index(label))
            # An exact zero has a long one-sided bound: it must not stretch the axis of everything else.
            reach = estimate.high if estimate.value and estimate.high is not None else estimate.value
            highest = max(highest, reach)
    ax.set_title(panel.title, fontsize=10, loc="left")
    _names(ax, [row.name for row in panel.rows], narrow)
    reach = _share_axis(ax, "x", highest)
    for at, row in enumerate(panel.rows):
        for i, (label, estimate) in enumerate(zip(panel.labels, row.series, strict=True)):
            if estimate is not None and estimate.high is not None and estimate.high > reach:
                y = at + (_APART * (2 * i / spread - 1) if len(panel.labels) > 1 else 0.0)
                ax.plot([reach], [y], marker=">", color=SERIES[order.index(label)], markersize=5, clip_on=False)
    ax.grid(axis="x", color=FAINT, linewidth=0.4, linestyle=":")


def _mosaic(ax: Axes, mosaic: Mosaic) -> None:
    said, silent = mosaic.both + mosaic.v_only, mosaic.n_only + mosaic.neither
    total = said + silent
    left = 0.0
    for n, aware, series, hatch in ((said, mosaic.both, 2, "//"), (silent, mosaic.n_only, 0, "")):
        if not n:
            continue
        width, height = n / total, aware / n
        gap = 0.006 if said and silent else 0.0
        ax.bar(left + width / 2, 1, width - 2 * gap, color=PAPER, edgecolor=FAINT, linewidth=0.8)
        ax.bar(left + width / 2, height, width - 2 * gap, color=SERIES[series], hatch=hatch, edgecolor=PAPER)
        if width > 0.12:
            ax.text(left + width / 2, 1.03, "V" if series else "not V", ha="center", fontsize=8, color=INK)
        left += width
    if mosaic.control is not None:
        ax.axhline(mosaic.control, color=SERIES[1], linestyle="--", linewidth=1.6)
    ax.set_title(_short(mosaic.name), fontsize=9, loc="left", pad=14, parse_math=False)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xticks([])
    ax.yaxis.set_major_locator(MaxNLocator(2))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    despine(ax, left=True)


def _same_transcripts(points: Sequence[KPoint]) -> list[KPoint]:
    """The points before the transcripts of the first one begin to drop out."""
    return [p for p in points if p.transcripts == points[0].transcripts] if points else []


def _few(points: Sequence[KPoint]) -> list[KPoint]:
    """At most a dozen points for the table: the first, the last, and some between."""
    step = max(1, -(-len(points) // 12))
    return [p for i, p in enumerate(points) if i % step == 0 or i == len(points) - 1]


def _share_axis(ax: Axes, axis: str, highest: float) -> float:
    """Set an axis of shares from zero; returns where it ends. An interval that goes on ends in an arrow."""
    reach = min(1.0, max(_LEAST, highest * 1.06))
    limits, ticks = (ax.set_xlim, ax.xaxis) if axis == "x" else (ax.set_ylim, ax.yaxis)
    limits(0, reach)
    ticks.set_major_locator(MaxNLocator(4))
    ticks.set_major_formatter(PercentFormatter(1, decimals=None))
    if axis == "y":
        ax.grid(axis="y", color=FAINT, linewidth=0.4, linestyle=":")
    despine(ax, left=axis == "x")
    return reach


def _names(ax: Axes, names: Sequence[str], narrow: bool, longest: int = 32) -> None:
    shown = [_short(name, 16 if narrow else longest) for name in names]
    ax.set_yticks(range(len(names)), shown, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(left=False)


def _short(name: str, longest: int = 26) -> str:
    shown = visible(name)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _dot(ax: Axes, estimate: Estimate, y: float, series: int) -> None:
    if estimate.value is None:
        return
    colour = SERIES[series]
    if estimate.low is not None and estimate.high is not None:
        ax.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    fill = colour if estimate.has_interval else "none"
    ax.plot(
        [estimate.value], [y], marker=_MARKERS[series], markersize=6, color=colour, markerfacecolor=fill, clip_on=False
    )
