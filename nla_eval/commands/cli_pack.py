"""Arguments of the commands of `nla-eval pack`. Each does its work in a module of `commands`, imported on call."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InputError
from .screen import Commands

packs = Commands(no_args_is_help=True, help="Check, measure, compare and convert packs (trained NLAs).")

Target = Annotated[str, typer.Option(help="Target model: name, folder, or hub id owner/name.")]
Dtype = Annotated[str, typer.Option(help="Dtype of the weights: auto, float32, bfloat16 or float16.")]
PlanOnly = Annotated[bool, typer.Option("--plan", help="Print the plan and its cost, then exit. Loads no weights.")]
Rows = Annotated[int, typer.Option(help="Number of held-out positions.")]
RunFolder = Annotated[str | None, typer.Option("--run", help="Training run whose held-out positions are used.")]
Source = Annotated[
    str | None,
    typer.Option(
        help="Transcripts to measure on: .jsonl or .eval file, or registered source. "
        "Default: the held-out part of the training source."
    ),
]
Weights = Annotated[
    str, typer.Option("--dtype", help="Dtype of the written weights: float32 (exact), bfloat16 or float16.")
]


@packs.command("verify")
def pack_verify(
    pack: Annotated[str | None, typer.Argument(help="Pack: name or folder. Default: the shipped pack.")] = None,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
) -> None:
    """Check a pack's files, load it on its target and run its self-test. Any failed check is an error."""
    from .pack import verify

    verify(pack, target, dtype)


@packs.command("card")
def pack_card(
    pack: Annotated[str | None, typer.Argument(help="Pack: name or folder. Default: the shipped pack.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure the pack again, on --run, --source or the default source.")
    ] = False,
    run: RunFolder = None,
    source: Source = None,
    rows: Rows = 256,
    only: Annotated[
        str | None,
        typer.Option(help="Measure besides the round trip: any of tasks,pairs,paraphrase,recurrence. Default: all."),
    ] = None,
    judgements: Annotated[
        str | None, typer.Option(help="Filled sheet of `pack judge-sheet`; its tally goes on the card.")
    ] = None,
    record: Annotated[
        str | None, typer.Option(help="Write the measured record to this file, for `pack curve`.")
    ] = None,
    step: Annotated[int | None, typer.Option(help="Training step of the checkpoint, for the record.")] = None,
    core_hours: Annotated[float | None, typer.Option(help="Core-hours spent up to that step, for the record.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Save the card in the pack.")] = False,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
    plan_only: PlanOnly = False,
) -> None:
    """Print a pack's card with its measured figures, or measure it again."""
    from .pack import card, measured_card
    from .pack_measure import MeasureRequest, plan

    wanted = {
        "--run": run, "--source": source, "--only": only, "--record": record, "--step": step, "--core-hours": core_hours
    }  # fmt: skip
    if measure:
        request = MeasureRequest(
            pack, target, dtype, run, source, rows, only=only, record=record, step=step, core_hours=core_hours
        )
        if plan_only:
            plan(request)
        else:
            measured_card(request, judgements, write)
    elif plan_only:
        raise InputError("--plan has no effect without --measure; add --measure")
    elif given := next((name for name, value in wanted.items() if value is not None), None):
        raise InputError(f"{given} has no effect without --measure; add --measure")
    else:
        card(pack, judgements, write)


@packs.command("compare")
def pack_compare(
    first: Annotated[str, typer.Argument(help="First pack: name or folder.")],
    second: Annotated[str, typer.Argument(help="Second pack: name or folder.")],
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure both packs on the same rows, with paired intervals.")
    ] = False,
    run: RunFolder = None,
    source: Source = None,
    rows: Rows = 256,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
) -> None:
    """Print the figures of two packs side by side, with differences and intervals."""
    from .pack_measure import MeasureRequest, compare

    if not measure and (run or source):
        raise InputError("--run and --source have no effect without --measure; add --measure")
    compare(first, second, MeasureRequest(None, target, dtype, run, source, rows, only="") if measure else None)


@packs.command("judge-sheet")
def pack_judge_sheet(
    out: Annotated[str, typer.Argument(help="CSV file to write. It contains transcript text.")],
    pack: Annotated[str | None, typer.Option(help="Pack: name or folder. Default: the shipped pack.")] = None,
    run: RunFolder = None,
    source: Source = None,
    rows: Annotated[int, typer.Option(help="Number of explanations to judge.")] = 100,
    seed: Annotated[int, typer.Option(help="Random seed of the draw.")] = 0,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
) -> None:
    """Write a sheet of explanations with their contexts to judge by hand, for `pack card --judgements`."""
    from .pack_measure import MeasureRequest, judge_sheet

    judge_sheet(MeasureRequest(pack, target, dtype, run, source, rows), out, seed)


@packs.command("curve")
def pack_curve(
    records: Annotated[list[str], typer.Argument(help="Records of checkpoints, written by `pack card --record`.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Plot to write: a .png or .svg file.")] = "training.png",
) -> None:
    """Plot the measured figures of checkpoints over training."""
    from .pack_measure import curve

    curve(records, out)


@packs.command("export")
def pack_export(
    out: Annotated[str, typer.Argument(help="New folder for av/ and ar/.")],
    pack: Annotated[str | None, typer.Option(help="Pack: name or folder. Default: the shipped pack.")] = None,
    format_: Annotated[
        str, typer.Option("--format", help="Format to write: public, that of the released checkpoints.")
    ] = "public",
    target: Target = "smollm2-135m",
    dtype: Weights = "float32",
) -> None:
    """Write a pack as full checkpoints in the public NLA format, adapters merged into the target's weights."""
    from .pack_files import export

    export(pack, out, format_, target, dtype)


@packs.command("import")
def pack_import(
    folder: Annotated[
        str, typer.Argument(help="Checkpoints in the public format: a folder with av/ and ar/, or 'AV,AR'.")
    ],
    out: Annotated[str, typer.Argument(help="New folder for the pack.")],
    target: Target = "smollm2-135m",
    baseline_variance: Annotated[
        float | None, typer.Option(help="Variance of normalised training activations, if the sidecars lack it.")
    ] = None,
) -> None:
    """Import a pair of checkpoints in the public NLA format as a pack of its target."""
    from .pack_files import import_

    import_(folder, out, target, baseline_variance)


@packs.command("merge")
def pack_merge(
    out: Annotated[str, typer.Argument(help="New folder for the pack.")],
    pack: Annotated[str | None, typer.Option(help="Pack: name or folder. Default: the shipped pack.")] = None,
    target: Target = "smollm2-135m",
    dtype: Weights = "float32",
) -> None:
    """Merge a pack's adapters into plain weights."""
    from .pack_files import merge

    merge(pack, out, target, dtype)
