"""Arguments of the commands of `nla-eval setting`. Each does its work in `commands.setting`, imported on call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_pack import PlanOnly
from .screen import Commands

settings = Commands(no_args_is_help=True, help="Train, measure and add a pack's setting adapter: was it told?")

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings. Default: the shipped pack's.")]
RunFolder = Annotated[Path, typer.Option("--run-folder", help="Folder for rows, checkpoint and adapter.")]
Threads = Annotated[int, typer.Option(help="Number of CPU threads.")]


@settings.command("train")
def setting_train(
    config: Config = None,
    run_folder: RunFolder = Path("runs/setting"),
    threads: Threads = 1,
    plan_only: PlanOnly = False,
) -> None:
    """Teach an adapter to say what the prompt told the model of its setting. An interrupted run resumes."""
    from .setting import plan_train, train

    if plan_only:
        plan_train(config, run_folder)
    else:
        train(config, run_folder, threads)


@settings.command("check")
def setting_check(
    config: Config = None,
    run_folder: RunFolder = Path("runs/setting"),
    organisms: Annotated[
        str, typer.Option(help="Targets with a planted state to read too, by comma, such as smollm2-135m-organism@1.")
    ] = "",
    threads: Threads = 1,
    plan_only: PlanOnly = False,
) -> None:
    """Measure the adapter on held-out wordings, frames and conversations; print and keep its card."""
    from .setting import check, plan_check

    if plan_only:
        plan_check(config, run_folder, organisms)
    else:
        check(config, run_folder, threads, organisms)


@settings.command("add")
def setting_add(
    run_folder: RunFolder = Path("runs/setting"),
    pack: Annotated[str, typer.Option(help="Pack that gets the adapter: a shipped one, or a folder.")] = (
        "smollm2-135m-l20"
    ),
) -> None:
    """Put the adapter and its card into a pack. The pack's other adapters stay as they are."""
    from .setting import add

    add(run_folder, pack)
