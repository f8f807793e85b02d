"""Plots records over training: the round trip, its ablations, and each task with its controls. Draws the values and
intervals of the records; computes none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.figure
import seaborn as sns

from ..errors import InputError
from .ablation import EMPTY, MASKED, REORDERED, SHUFFLED, TAIL, WHOLE
from .figures import Figure
from .record import Record
from .tasks import READERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_CONDITIONS = (WHOLE, MASKED, REORDERED, TAIL, SHUFFLED, EMPTY)


def over_training(records: Sequence[Record]) -> Drawing:
    """One panel for the ablation table and one per task. The x axis is core-hours if every record has them, else steps.

    Raises:
        InputError: There are fewer than two records, a record has no step, or the held-out rows differ.
    """
    if len(records) < 2:
        raise InputError("a training curve needs at least two records")
    if any(r.step is None for r in records):
        raise InputError("a record has no training step; measure checkpoints of a training run")
    if len({r.held_out.digest for r in records}) > 1:
        raise InputError("the records come from different held-out rows; measure all checkpoints on the same rows")
    by_hours = all(r.core_hours is not None for r in records)
    ordered = sorted(records, key=lambda r: r.core_hours or 0.0 if by_hours else r.step or 0)
    x = [float((r.core_hours if by_hours else r.step) or 0.0) for r in ordered]
    tasks = [t.name for t in ordered[-1].tasks]
    columns = min(3, 1 + len(tasks))
    rows = -(-(1 + len(tasks)) // columns)
    drawing = matplotlib.figure.Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    with sns.axes_style("whitegrid"), sns.plotting_context("paper"):
        panels = [drawing.add_subplot(rows, columns, i + 1) for i in range(1 + len(tasks))]
    _lines(panels[0], x, ordered, _CONDITIONS, _condition)
    panels[0].set(title="what the explanation is worth", ylabel="fve_meannorm")
    for panel, name in zip(panels[1:], tasks, strict=True):
        _lines(panel, x, ordered, READERS, partial(_reader, name))
        found = ordered[-1].task(name)
        if found is not None:
            panel.axhline(found.chance, color="0.6", linewidth=0.8, linestyle=":")
            panel.set(title=name.replace("_", " "), ylabel=found.metric)
    for panel in panels:
        panel.set_xlabel("core-hours" if by_hours else "step")
    return drawing


def save(drawing: Drawing, path: Path) -> None:
    """Write a PNG or SVG, by file extension. The same records give the same SVG, byte for byte."""
    if path.suffix not in (".png", ".svg"):
        raise InputError(f"'{path.name}' is neither .png nor .svg; give a name that ends in one of these")
    with matplotlib.rc_context({"svg.hashsalt": "nla_eval", "svg.fonttype": "none"}):
        drawing.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _lines(
    panel: Axes, x: list[float], records: Sequence[Record], names: Sequence[str],
    of: Callable[[Record, str], Figure | None],
) -> None:  # fmt: skip
    colours = sns.color_palette("colorblind", len(names))
    for colour, name in zip(colours, names, strict=True):
        found = [(at, f) for at, r in zip(x, records, strict=True) if (f := of(r, name)) is not None]
        if not found:
            continue
        places, figures = [at for at, _ in found], [f for _, f in found]
        panel.plot(places, [f.value for f in figures], marker="o", markersize=3, color=colour, label=name)
        low = [f.value if f.low is None else f.low for f in figures]
        high = [f.value if f.high is None else f.high for f in figures]
        panel.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.legend(fontsize=6, frameon=False)


def _condition(record: Record, name: str) -> Figure | None:
    found = record.condition(name)
    return None if found is None else found.fve_meannorm


def _reader(task: str, record: Record, reader: str) -> Figure | None:
    found = record.task(task)
    return None if found is None else found.readers.get(reader)
