"""Arguments of the commands of `nla-eval organism`. Each does its work in a module of `commands`, imported on call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_pack import PlanOnly
from .screen import Commands

organisms = Commands(no_args_is_help=True, help="Train and check the positive control: a planted state.")

RunFolder = Annotated[Path, typer.Option("--run-folder", help="Folder for checkpoints and natural shifts.")]
Threads = Annotated[int, typer.Option(help="Number of CPU threads.")]


@organisms.command("train")
def organism_train(
    planted: Annotated[
        str, typer.Option(help="What the cue switches on: told (the organism), or a sham: language, random.")
    ] = "told",
    run_folder: RunFolder = Path("runs/organism"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the adapter. Default: in the run folder.")
    ] = None,
    threads: Threads = 1,
    plan_only: PlanOnly = False,
) -> None:
    """Train an organism or a sham of the default target, and write its adapter. An interrupted run resumes."""
    from .organism import plan_train, train

    if plan_only:
        plan_train(planted, run_folder)
    else:
        train(planted, run_folder, out, threads)


@organisms.command("check")
def organism_check(
    organism: Annotated[str, typer.Argument(help="Organism: name of a shipped one, or folder of its adapter.")] = (
        "smollm2-135m-organism"
    ),
    doses: Annotated[str, typer.Option(help="Doses to check, by comma.")] = "0.5,1",
    shams: Annotated[str, typer.Option(help="Shams to check at the largest dose, by comma: names or folders.")] = "",
    conversations: Annotated[int, typer.Option(help="Held-out conversations; half fit directions, half test.")] = 10,
    directions: Annotated[int, typer.Option(help="Random directions of the ablation, at the largest dose.")] = 100,
    threads: Threads = 1,
    write: Annotated[bool, typer.Option("--write", help="Save the table as CARD.md beside the adapter.")] = False,
    plan_only: PlanOnly = False,
) -> None:
    """Check that the planted state is there, acts, and is not said. Prints a table by dose, and failed checks."""
    from .organism import CheckRequest, check, plan_check

    request = CheckRequest(organism, doses, shams, conversations, directions, threads, write)
    (plan_check if plan_only else check)(request)
