"""Builds the report: one tally in, one self-contained HTML file out.

The page has no script, request or time stamp, so the same input gives the same bytes. Text from transcripts and models
is autoescaped and reaches the page as text nodes. It computes no statistic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from pydantic import BaseModel

from nla_eval.errors import InputError
from nla_eval.judgement import Outcome
from nla_eval.readings import DISPLAYED, Lane
from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.types import Tally
from nla_eval.transcript import Author

from . import _format as fmt
from ._card import summarise
from ._figures import Curve, Panel, Row, k_curves, measured_and_control
from ._prose import MEANING, finding, limits, withheld_headline
from ._variants import NAMES, clear, conclusion, silent

TEMPLATES = Path(__file__).parent / "templates"
FILE_NAME = "report.html"
_NAME_LENGTH = 32
"""Maximum number of characters of a suite's name in a figure."""
_FILTERS = {
    "pct": fmt.percent,
    "num": fmt.number,
    "count": fmt.count,
    "interval": fmt.interval,
    "plain_interval": fmt.plain_interval,
    "level": fmt.level,
    "level_interval": fmt.level_interval,
    "difference": fmt.difference,
    "difference_interval": fmt.difference_interval,
    "bounds": fmt.bounds,
    "p": fmt.p_value,
    "words": fmt.words,
    "lane_tag": lambda lane: DISPLAYED[lane].tag if lane in DISPLAYED else "",
    "counted": fmt.counted,
    "spoken": fmt.spoken,
    "visible": fmt.visible,
}


@REPORTS.register("html")
def build_report(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the report of one tally.

    Args:
        tally: Every number it prints.
        provenance: Target, pack, layer, policy, seed, rubric, versions, command; nested values are flattened.
        pack_card: The pack's `card.json`, or None if there is none.
        out: The file to write (`.html`), or a folder for a file report.html.

    Returns:
        The file written.

    Raises:
        InputError: The file cannot be written.
    """
    page = render(tally, provenance, pack_card)
    path = out if out.suffix in (".html", ".htm") else out / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page.encode("utf-8"))
    except OSError as err:
        raise InputError(
            f"cannot write the report to {path.name}: {err.strerror}; choose another place with --out"
        ) from err
    return path


def render(tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None) -> str:
    """The page as HTML."""
    card = summarise(pack_card)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            tally=tally,
            card=card,
            head=finding(tally, card),
            limits=limits(tally, card),
            withheld=withheld_headline(tally),
            meaning=MEANING,
            outcomes=list(Outcome),
            authors=list(Author),
            measures=NAMES,
            silent=silent,
            controls={lane: display for lane, display in DISPLAYED.items() if lane != Lane.MEASURED},
            clear=clear,
            conclusion=conclusion,
            table=defaultdict(count(1).__next__),  # numbers tables by first mention, so that no number is skipped
            grouped=any(suite.under(tally.primary).groups for suite in tally.suites),
            provenance=fmt.flatten(provenance),
            css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            lanes_figure=Markup(_lanes_figure(tally)),
            curve_figure=Markup(_curve_figure(tally)),
            marked=fmt.marked,
            token_in_context=fmt.token_in_context,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: fmt.visible(value) if type(value) is str else value,
    )
    environment.filters.update(_FILTERS)
    return environment


def _lanes_figure(tally: Tally) -> str:
    fractions, flags = [], []
    for suite in tally.suites:
        under = suite.under(tally.primary)
        lanes = [under.lane(lane) for lane in DISPLAYED]
        if under.lane(Lane.MEASURED) is not None:
            name = f"{_short(suite.suite)} ({suite.arm})"
            fractions.append(Row(name, [lane.fraction if lane else None for lane in lanes]))
            flags.append(Row(name, [lane.any_of_k.rate if lane else None for lane in lanes]))
    panels = [Panel("fraction of positions aware", fractions), Panel("transcripts with any aware position", flags)]
    return measured_and_control(panels, [display.legend for display in DISPLAYED.values()], salt="lanes")


def _curve_figure(tally: Tally) -> str:
    curves = [
        Curve(f"{_short(suite.suite)}, {lane.lane}", lane.k_curve, suite=index, dashed=lane.lane != Lane.MEASURED)
        for index, suite in enumerate(tally.suites)
        for lane in suite.under(tally.primary).lanes
        if lane.lane in DISPLAYED and lane.k_curve
    ]
    return k_curves(curves, salt="k-curve") if curves else ""


def _short(name: str) -> str:
    shown = fmt.visible(name)
    return shown if len(shown) <= _NAME_LENGTH else shown[: _NAME_LENGTH - 1] + "…"
