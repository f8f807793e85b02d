"""The figures of a report as files for a paper: a folder of SVG, PNG or PDF, in the page's light colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.types import Tally

from ._charts import charts
from ._files import beside, write


@REPORTS.register("svg")
def build_svg(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write every figure as SVG into the folder `<report>-figures`; its text stays text."""
    folder = _folder(out)
    for name, drawing in charts(tally).items():
        write(folder / f"{name}.svg", drawing.svg().encode("utf-8", "backslashreplace"))
    return folder


@REPORTS.register("png")
def build_png(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write every figure as PNG, 200 dots per inch, into the folder `<report>-figures`."""
    folder = _folder(out)
    for name, drawing in charts(tally).items():
        write(folder / f"{name}.png", drawing.png())
    return folder


@REPORTS.register("pdf")
def build_pdf(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write every figure as PDF into the folder `<report>-figures`; its text stays text."""
    folder = _folder(out)
    for name, drawing in charts(tally).items():
        write(folder / f"{name}.pdf", drawing.pdf())
    return folder


def _folder(out: Path) -> Path:
    whole = beside(out, ".svg")
    return whole.with_name(f"{whole.stem}-figures")
