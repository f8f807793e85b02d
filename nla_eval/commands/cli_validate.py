"""Arguments of the commands of `nla-eval validate`. The work is in `commands/validate.py`, imported on call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..pipeline.options import checked, whole_number
from .screen import Commands

validation = Commands(no_args_is_help=True, help="Let people label judgements, and calibrate a classifier by them.")


@validation.command("sheet")
def validate_sheet(
    inputs: Annotated[list[str], typer.Argument(help="Inputs: stores, .eval logs and folders of logs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write. Its key goes beside it.")] = Path(
        "validation.html"
    ),
    classifier: Annotated[
        str | None, typer.Option(help="Classifier to validate. Default: the one that judged the inputs.")
    ] = None,
    rubric: Annotated[str | None, typer.Option(help="Rubric: name or YAML file.")] = None,
    size: Annotated[int, typer.Option(help="Number of texts, half explanations and half turns.")] = 200,
    seed: Annotated[int, typer.Option(help="Random seed of the draw and the order.")] = 0,
) -> None:
    """Draw a stratified sample of judgements and write a blind page to label it on. Needs no weights."""
    from .validate import SheetRequest, run_sheet

    checked("size", size, whole_number(8))
    run_sheet(SheetRequest(tuple(inputs), out, classifier, rubric, size, seed))


@validation.command("merge")
def validate_merge(
    labels: Annotated[list[Path], typer.Argument(help="Label files, one for each person.")],
    key: Annotated[Path, typer.Option(help="Key of the sheet.")] = Path("validation.key.json"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Calibration file to write.")] = Path("calibration.json"),
) -> None:
    """Merge the labels of several people: agreement, precision and recall by class, ROC, and a calibration file."""
    from .validate import MergeRequest, run_merge

    run_merge(MergeRequest(tuple(labels), key, out))
