"""The figures of a report as files for a paper: a folder of SVG, PNG or PDF, in the page's light colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nla_eval.tally.report_registry import REPORTS, ReportBuilder
from nla_eval.tally.types import Tally

from ._charts import charts
from ._drawing import Drawing
from ._files import beside, write


def _builder(kind: str, drawn: Callable[[Drawing], bytes]) -> ReportBuilder:
    """Writes every figure in one format into the folder `<report>-figures`."""

    def build(
        tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
    ) -> Path:
        folder = _folder(out)
        for name, drawing in charts(tally).items():
            write(folder / f"{name}.{kind}", drawn(drawing))
        return folder

    return build


REPORTS.register("svg")(_builder("svg", lambda drawing: drawing.svg().encode("utf-8", "backslashreplace")))
REPORTS.register("png")(_builder("png", Drawing.png))
REPORTS.register("pdf")(_builder("pdf", Drawing.pdf))


def _folder(out: Path) -> Path:
    whole = beside(out, ".svg")
    return whole.with_name(f"{whole.stem}-figures")
