"""`nla-eval pack`: the arguments of its commands. Each command's work is a module of `commands`, imported when it is
called."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InputError

packs = typer.Typer(no_args_is_help=True, help="Trained NLAs.")

Target = Annotated[str, typer.Option(help="Target: its name, a folder, or a hub id owner/name.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Rows = Annotated[int, typer.Option(help="Held-out positions.")]
RunFolder = Annotated[str | None, typer.Option("--run", help="Training run whose held-out positions to take.")]
Source = Annotated[
    str | None,
    typer.Option(help=".jsonl or .eval file, or registered source. Default: what the training source holds out."),
]
Weights = Annotated[str, typer.Option("--dtype", help="float32 (exactly the pack), bfloat16 or float16.")]


@packs.command("verify")
def pack_verify(
    pack: Annotated[str | None, typer.Argument(help="Name or folder.")] = None,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
) -> None:
    """Load a pack on its target and run its self-test; it fails closed."""
    from .pack import verify

    verify(pack, target, dtype)


@packs.command("card")
def pack_card(
    pack: Annotated[str | None, typer.Argument(help="Name or folder.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure it again, on --run, --source or neither.")
    ] = False,
    run: RunFolder = None,
    source: Source = None,
    rows: Rows = 256,
    only: Annotated[
        str | None, typer.Option(help="Beside the round trip: any of tasks,pairs,paraphrase,recurrence. Default: all.")
    ] = None,
    judgements: Annotated[str | None, typer.Option(help="A filled sheet of `pack judge-sheet`, to be tallied.")] = None,
    record: Annotated[str | None, typer.Option(help="File to write the measured record to, for `pack curve`.")] = None,
    step: Annotated[int | None, typer.Option(help="Training step of a checkpoint, for the record.")] = None,
    core_hours: Annotated[float | None, typer.Option(help="Spent until that step, for the record.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep the card in the pack.")] = False,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
) -> None:
    """Print what was measured of a pack, or measure it again."""
    from .pack import card, measured_card
    from .pack_measure import MeasureRequest

    wanted = {
        "--run": run, "--source": source, "--only": only, "--record": record, "--step": step, "--core-hours": core_hours
    }  # fmt: skip
    if measure:
        request = MeasureRequest(
            pack, target, dtype, run, source, rows, only=only, record=record, step=step, core_hours=core_hours
        )
        measured_card(request, judgements, write)
    elif given := next((name for name, value in wanted.items() if value is not None), None):
        raise InputError(f"{given} says what to measure; add --measure")
    else:
        card(pack, judgements, write)


@packs.command("compare")
def pack_compare(
    first: Annotated[str, typer.Argument(help="Name or folder.")],
    second: Annotated[str, typer.Argument(help="Name or folder.")],
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure both on the same rows: paired intervals.")
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
        raise InputError("--run and --source say what to measure; add --measure")
    compare(first, second, MeasureRequest(None, target, dtype, run, source, rows, only="") if measure else None)


@packs.command("judge-sheet")
def pack_judge_sheet(
    out: Annotated[str, typer.Argument(help="CSV file to write. It holds the text of transcripts.")],
    pack: Annotated[str | None, typer.Option(help="Name or folder.")] = None,
    run: RunFolder = None,
    source: Source = None,
    rows: Annotated[int, typer.Option(help="Explanations to judge.")] = 100,
    seed: Annotated[int, typer.Option()] = 0,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
) -> None:
    """Write a sheet of explanations beside their contexts, for `pack card --judgements`."""
    from .pack_measure import MeasureRequest, judge_sheet

    judge_sheet(MeasureRequest(pack, target, dtype, run, source, rows), out, seed)


@packs.command("curve")
def pack_curve(
    records: Annotated[list[str], typer.Argument(help="Records of checkpoints, as `pack card --record` writes them.")],
    out: Annotated[str, typer.Option(help=".png or .svg file.")] = "training.png",
) -> None:
    """Plot what was measured of checkpoints over training."""
    from .pack_measure import curve

    curve(records, out)


@packs.command("export")
def pack_export(
    out: Annotated[str, typer.Argument(help="New folder for av/ and ar/.")],
    pack: Annotated[str | None, typer.Option(help="Name or folder.")] = None,
    format_: Annotated[str, typer.Option("--format", help="public: the released checkpoints' format.")] = "public",
    target: Target = "smollm2-135m",
    dtype: Weights = "float32",
) -> None:
    """Write a pack's adapters and target as whole checkpoints in the public NLA format."""
    from .pack_files import export

    export(pack, out, format_, target, dtype)


@packs.command("import")
def pack_import(
    folder: Annotated[str, typer.Argument(help="Folder with av/ and ar/, or 'AV,AR', in the public format.")],
    out: Annotated[str, typer.Argument(help="New folder for the pack.")],
    target: Target = "smollm2-135m",
    baseline_variance: Annotated[
        float | None, typer.Option(help="Variance of normalised training activations, if the sidecars lack it.")
    ] = None,
) -> None:
    """Take a pair in the public NLA format in as a pack of its target."""
    from .pack_files import import_

    import_(folder, out, target, baseline_variance)


@packs.command("merge")
def pack_merge(
    out: Annotated[str, typer.Argument(help="New folder for the pack.")],
    pack: Annotated[str | None, typer.Option(help="Name or folder.")] = None,
    target: Target = "smollm2-135m",
    dtype: Weights = "float32",
) -> None:
    """Fold a pack's adapters into plain weights."""
    from .pack_files import merge

    merge(pack, out, target, dtype)
