"""Arguments of the commands of `nla-eval suite`. The work is in `commands/suites.py` and `suite_list.py`, imported on
call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .screen import Commands
from .source_options import with_source_options

if TYPE_CHECKING:
    from .suites import SourceRequest

suites = Commands(no_args_is_help=True, help="List suites, inspect data, make suites from your own data.")


@suites.command("list")
def suite_list() -> None:
    """List suites with arm, size, families, licence and whether they can be read on this machine."""
    from .suite_list import run_list

    run_list()


@suites.command("inspect")
@with_source_options
def suite_inspect(
    source: SourceRequest,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a reader finds in the data: counts, roles, lengths, tools, languages, samples, and what it skips."""
    from .suites import run_inspect

    run_inspect(source, as_json=as_json)


@suites.command("add")
@with_source_options
def suite_add(
    *,
    name: Annotated[
        str, typer.Option(help="Name of the suite and its task: lower-case letters, digits and underscores.")
    ],
    arm: Annotated[str, typer.Option(help="Arm: evaluation, deployment or monitor.")],
    licence: Annotated[str, typer.Option(help="Licence of the data: SPDX id or a short statement.")],
    title: Annotated[str, typer.Option(help="Title for tables. Default: the name.")] = "",
    into: Annotated[Path, typer.Option(help="Folder for the card and the task file.")] = Path("suites"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a suite of this name.")] = False,
    source: SourceRequest,
) -> None:
    """Make a suite from your own data: a card that pins it by hash or commit, and a task file for inspect eval."""
    from .suites import CardRequest, run_add

    run_add(source, CardRequest(name, arm, licence, title, into, force))
