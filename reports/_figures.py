"""The figures of a report as inline SVG, in the page's light and dark colours.

matplotlib draws each in seaborn's style on its own canvas, without global state. Ids are salted per figure and unused
ids are removed, so figures can share a page and the same tally gives the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nla_eval.stats.anyk import KPoint
from nla_eval.stats.interval import Estimate

_INK, _FAINT = "#101112", "#808182"
_SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_APART = 0.14
"""Distance of a row's outermost lanes from its middle."""
_COLOURS = {_INK: "var(--ink)", _FAINT: "var(--rule)"} | {c: f"var(--series-{i})" for i, c in enumerate(_SERIES, 1)}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class Row:
    """One line of the measured-against-control figure."""

    name: str
    lanes: list[Estimate | None]
    """One estimate per lane shown, the measured lane first; None if the lane was not read."""


@dataclass(frozen=True)
class Panel:
    """One panel of that figure: the same rows in one quantity."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Curve:
    """One k-curve: colour and marker by suite, dashed for a control."""

    name: str
    points: list[KPoint]
    suite: int
    """Index of the suite, from 0."""
    dashed: bool = False


def measured_and_control(panels: Sequence[Panel], labels: Sequence[str], salt: str) -> str:
    """Dots with intervals, one row per suite, measured above controls; hollow if the interval is withheld."""
    rows = max(len(panel.rows) for panel in panels)
    figure, axes = _canvas(len(panels), (10.2, 0.9 + 0.62 * rows), share_rows=True)
    for ax, panel in zip(axes, panels, strict=True):
        for at, row in enumerate(panel.rows):
            for series, estimate in enumerate(row.lanes):
                if estimate is not None:
                    _dot(ax, estimate, at + _APART * (2 * series / max(1, len(labels) - 1) - 1), series)
        ax.set_title(panel.title, fontsize=10, loc="left")
        ax.set_ylim(rows - 0.5, -0.5)
        ax.set_xlim(left=0, right=max(0.05, ax.get_xlim()[1]))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.grid(axis="x", color=_FAINT, linewidth=0.4, linestyle=":")
        _despine(ax, left=True)
        ax.tick_params(left=False)
    axes[0].set_yticks(range(len(panels[0].rows)), [row.name for row in panels[0].rows], parse_math=False)
    handles = [
        axes[0].plot([], [], marker=_MARKERS[i], color=_SERIES[i], linestyle="", label=label)[0]
        for i, label in enumerate(labels)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(labels), frameon=False, labelcolor=_INK)
    return _svg(figure, salt)


def k_curves(curves: Sequence[Curve], salt: str) -> str:
    """The share of transcripts with at least one aware position among k, plotted against k."""
    figure, (ax,) = _canvas(1, (7.2, 3.3))
    for curve in curves:
        colour = _SERIES[curve.suite % len(_SERIES)]
        ax.plot(
            [p.k for p in curve.points],
            [p.rate for p in curve.points],
            color=colour,
            marker=_MARKERS[curve.suite % len(_MARKERS)],
            markersize=4,
            markerfacecolor="none" if curve.dashed else colour,
            linewidth=1.3,
            linestyle="--" if curve.dashed else "-",
            label=curve.name,
        )
    ax.set_xlabel("k positions, subsampled without replacement")
    ax.set_ylabel("any of k aware")
    ax.set_ylim(bottom=0, top=max(0.05, ax.get_ylim()[1]))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", color=_FAINT, linewidth=0.4, linestyle=":")
    _despine(ax)
    legend = figure.legend(loc="outside right upper", frameon=False, labelcolor=_INK)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return _svg(figure, salt)


def _despine(ax: Axes, *, left: bool = False) -> None:
    import seaborn as sns  # imported here: it imports scipy, which would delay error messages

    sns.despine(ax=ax, left=left)


def _canvas(columns: int, size: tuple[float, float], share_rows: bool = False) -> tuple[Figure, list[Axes]]:
    import seaborn as sns

    style: Any = {**sns.axes_style("ticks"), **_STYLE}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, columns, sharey=share_rows, squeeze=False)
    return figure, list(axes[0])


def _dot(ax: Axes, estimate: Estimate, y: float, series: int) -> None:
    if estimate.value is None:
        return
    colour = _SERIES[series]
    if estimate.low is not None and estimate.high is not None:
        ax.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    fill = colour if estimate.has_interval else "none"
    ax.plot(
        [estimate.value], [y], marker=_MARKERS[series], markersize=6, color=colour, markerfacecolor=fill, clip_on=False
    )


def _svg(figure: Figure, salt: str) -> str:
    buffer = io.StringIO()
    empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    style: Any = {**_STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(style), warnings.catch_warnings():
        # The reader's browser draws the text, so a glyph missing from the measuring font does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", text)
    return text.strip()
