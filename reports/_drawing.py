"""One figure of a report: inline SVG in the page's light and dark colours, or a file in the light ones.

matplotlib draws each in seaborn's style on its own canvas, without global state. Ids are salted per figure and unused
ones removed, so figures can share a page and the same tally gives the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ._format import visible

INK, FAINT, PAPER = "#101112", "#808182", "#fefdfc"
SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
_COLOURS = {INK: "var(--ink)", FAINT: "var(--rule)", PAPER: "var(--paper)"} | {
    c: f"var(--series-{i})" for i, c in enumerate(SERIES, 1)
}
_PRINT = {INK: "#1c1d1f", FAINT: "#9a9b98", PAPER: "#ffffff"} | dict(
    zip(SERIES, ("#0b5394", "#b45f06", "#2f7d4f", "#8e3a80", "#5c5f66", "#a03030"), strict=True)
)
"""The light colours of the page, for figures outside it."""
WIDE, NARROW = 9.6, 4.0
"""Widths in inches. At 360 px a narrow figure is shown about as large as it is drawn."""
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True)
class Drawing:
    """One figure, drawn on demand in any width."""

    name: str
    """Salt of its ids, and its file name."""
    title: str
    describe: str
    """What it shows, for readers who cannot see it."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The data, as text."""
    draw: Callable[[bool], Figure] = field(repr=False, compare=False)
    """Makes the figure, narrow or not."""

    def inline(self, narrow: bool) -> str:
        """The figure as inline SVG in the page's colours, with its title and description."""
        return _svg(self.draw(narrow), f"{self.name}-{'n' if narrow else 'w'}", self, _COLOURS)

    def svg(self) -> str:
        """The figure as a file of its own."""
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + _svg(self.draw(False), self.name, self, _PRINT) + "\n"

    def png(self) -> bytes:
        """The figure at 200 dots per inch."""
        return self._printed("png", FigureCanvasAgg, {"Software": None})

    def pdf(self) -> bytes:
        """The figure as one PDF page; its text stays text, in TrueType fonts."""
        return self._printed("pdf", FigureCanvasPdf, {"CreationDate": None, "Title": visible(self.title)})

    def _printed(self, kind: str, backend: Callable[[Figure], object], metadata: dict[str, Any]) -> bytes:
        """The figure in the colours for print."""
        figure = self.draw(False)
        swap = {mpl.colors.to_rgba(k): mpl.colors.to_rgba(v) for k, v in _PRINT.items()}
        _recolour(figure, swap)
        backend(figure)
        buffer = io.BytesIO()
        style: Any = {**_STYLE, "pdf.fonttype": 42}
        with mpl.rc_context(style), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format=kind, dpi=200, facecolor="white", metadata=metadata)
        return buffer.getvalue()


def despine(ax: Axes, *, left: bool = False) -> None:
    import seaborn as sns  # imported here: it imports scipy, which would delay error messages

    sns.despine(ax=ax, left=left)


def canvas(
    columns: int,
    size: tuple[float, float],
    stacked: bool,
    *,
    share_rows: bool = False,
    lines: int = 1,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    import seaborn as sns

    style: Any = {**sns.axes_style("ticks"), **_STYLE}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        shape = (max(columns, lines), 1) if stacked else (lines, columns)
        axes = figure.subplots(*shape, sharey=share_rows, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def _recolour(figure: Figure, swap: dict[Any, Any]) -> None:
    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            get, put = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if get is None or put is None:
                continue
            try:
                now = mpl.colors.to_rgba(get())
            except (ValueError, TypeError):
                continue
            if now in swap:
                put(swap[now])


def _svg(figure: Figure, salt: str, drawing: Drawing, colours: dict[str, str]) -> str:
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
    for colour, variable in colours.items():
        text = text.replace(colour, variable)
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", text)
    label = f'<title id="{salt}-t">{escape(drawing.title)}</title><desc id="{salt}-d">{escape(drawing.describe)}</desc>'
    opened, _, rest = text.partition(">")
    return f'{opened} role="img" aria-labelledby="{salt}-t {salt}-d">{label}{rest}'.strip()
