"""`nla-eval validate`: draws texts for people to label, and turns their labels into figures and a calibration file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from ..errors import InputError
from ..files import new_folder, write_text
from ..judging.calibration import write_calibration
from ..judging.classify import load_rubric, rubric_ref
from ..validation.labels import read_labels
from ..validation.merge import ClassFigures, Validation, validate
from ..validation.page import page_html
from ..validation.population import judged_texts
from ..validation.sample import draw_sheet, read_sheet, write_sheet
from .console import wide_console
from .report import ReportRequest, judged_inputs
from .summary import interval

KEY_SUFFIX = ".key.json"


@dataclass(frozen=True)
class SheetRequest:
    """What the user asked to draw."""

    inputs: tuple[str, ...]
    out: Path
    classifier: str | None = None
    rubric: str | None = None
    size: int = 200
    seed: int = 0


@dataclass(frozen=True)
class MergeRequest:
    """What the user asked to merge."""

    labels: tuple[Path, ...]
    key: Path
    out: Path


def run_sheet(request: SheetRequest) -> None:
    """Write the page and its key, and say what to do with them."""
    key = request.out.with_suffix(KEY_SUFFIX)
    for path in (request.out, key):
        new_folder(path)
    judged = judged_inputs(ReportRequest(request.inputs, "", request.classifier, request.rubric))
    if len(judged) > 1:
        names = ", ".join(f"{each.classifier} under {rubric_ref(each.rubric)}" for each in judged)
        raise InputError(f"the inputs are judged by {names}; name one with --classifier")
    [each] = judged
    texts = judged_texts(each.frames)
    sources = [name.rstrip("/").rsplit("/", 1)[-1] for name in request.inputs]
    sheet = draw_sheet(texts, each.classifier, rubric_ref(each.rubric), sources, request.size, request.seed)
    write_text(page_html(sheet, {text.id: text.text for text in texts}, each.rubric), request.out)
    write_sheet(key, sheet)
    kinds = {kind: sum(item.kind == kind for item in sheet.items) for kind in ("explanation", "turn")}
    print(
        f"{request.out}: {kinds['explanation']} explanations and {kinds['turn']} parts of turns of {len(texts)} that "
        f"{each.classifier} judged. Give it to the people who label; it holds texts of the transcripts.\n"
        f"{key}: verdicts and weights. Keep it from them. Then: nla-eval validate merge A.csv B.csv --key {key}"
    )


def run_merge(request: MergeRequest) -> None:
    """Print what the labels say and write the calibration file."""
    sheet = read_sheet(request.key)
    people = [read_labels(path, sheet) for path in request.labels]
    rubric = load_rubric(sheet.rubric.partition("@")[0])
    found = validate(sheet, people, rubric, datetime.now(UTC).date())
    show(found)
    write_calibration(request.out, found.calibration)
    print(f"{request.out}: use it with nla-eval report --calibration {request.out}")


def show(found: Validation) -> None:
    """Print agreement, then precision and recall by headline and label, then ROC."""
    console = wide_console()
    calibration = found.calibration
    console.print(
        f"{calibration.labelled} texts labelled by {', '.join(found.people)}; {calibration.unresolved} unresolved",
        highlight=False,
        markup=False,
    )
    for pair in found.agreement:
        console.print(
            f"{pair.left} and {pair.right}: one label for {pair.same_label} of {pair.texts}, kappa "
            f"{_figure(pair.kappa)}, AC1 {_figure(pair.ac1)}; paper: kappa {_figure(pair.headline_kappa)}, "
            f"AC1 {_figure(pair.headline_ac1)}",
            highlight=False,
            markup=False,
        )
    if len(found.people) > 1:
        console.print(f"Krippendorff's alpha over labels: {_figure(found.alpha)}", highlight=False)
    else:
        print("one person: no agreement to measure", file=sys.stderr)
    console.print(_table([*found.headlines, *found.labels]), highlight=False)
    for roc in found.roc:
        console.print(f"AUROC of the score for '{roc.kind}' under broad: {roc.auroc:.3f}", highlight=False)
    console.print(f"Per cent of judgements, {found.weighting}. In brackets: 95 % interval.", highlight=False)


def _table(rows: Sequence[ClassFigures]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "class", "aware", "other", "recall", "precision", "false flags"):
        table.add_column(name, justify="left" if name in ("kind", "class") else "right", no_wrap=True)
    for row in rows:
        counts = (f"{row.raw.positives:.0f}", f"{row.raw.negatives:.0f}")
        rates = (interval(row.recall), interval(row.precision), interval(row.false_rate))
        table.add_row(row.kind, row.name, *counts, *rates)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
