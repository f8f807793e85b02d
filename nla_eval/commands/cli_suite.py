"""Arguments of the commands of `nla-eval suite`. The work is in `commands/suites.py` and `suite_list.py`, imported on
call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from .suites import SourceRequest

suites = typer.Typer(no_args_is_help=True, help="List suites, inspect data, make suites from your own data.")

Where = Annotated[
    str, typer.Argument(help="Data: a file, a folder, or hf://owner/name@revision?config=NAME&split=NAME.")
]
Reader = Annotated[str, typer.Option(help="Name of the reader. Default: detected from the content.")]
MessagesKey = Annotated[str | None, typer.Option(help="Record key of the messages, as a dotted path.")]
IdKey = Annotated[str | None, typer.Option(help="Record key of the id, as a dotted path.")]
FamilyKey = Annotated[
    str | None, typer.Option(help="Record key of the prompt family. Default: near-duplicates share a family.")
]
OutcomeKey = Annotated[
    str | None, typer.Option(help="Record key of the outcome (what the model did). Inspect logs: name of a scorer.")
]
ModelRole = Annotated[
    str | None,
    typer.Option(help="Inspect logs: model role to read. Default: target if the log has one, else main."),
]
SamplesOption = Annotated[
    str, typer.Option("--samples", help="Inspect logs: complete (skip errored and invalidated samples), or all.")
]
Role = Annotated[list[str] | None, typer.Option(help="Read one role name as another: tool_output=user. Repeatable.")]
BranchesOption = Annotated[str, typer.Option("--branches", help="Conversation trees: best (one path) or all.")]
Prompts = Annotated[bool, typer.Option("--prompts", help="Accept records without an answer; the target writes it.")]
Limit = Annotated[int | None, typer.Option(help="Read only this many transcripts, from the start.")]
MaxRecordMb = Annotated[int, typer.Option(help="Skip records larger than this, in megabytes.")]
AnswersOption = Annotated[str, typer.Option("--answers", help="Preference pairs: chosen, rejected or both.")]
NearDuplicates = Annotated[
    float | None, typer.Option(help="Prompts at least this similar share a family. Default: 0.8 without --family-key.")
]
Redact = Annotated[bool, typer.Option("--redact", help="Mask e-mail addresses, phone numbers, keys and the like.")]


@suites.command("list")
def suite_list() -> None:
    """List suites with arm, size, families, licence and whether they can be read on this machine."""
    from .suite_list import run_list

    run_list()


@suites.command("inspect")
def suite_inspect(
    context: typer.Context,
    place: Where,
    reader: Reader = "",
    messages_key: MessagesKey = None,
    id_key: IdKey = None,
    family_key: FamilyKey = None,
    outcome_key: OutcomeKey = None,
    model_role: ModelRole = None,
    samples: SamplesOption = "complete",
    role: Role = None,
    branches: BranchesOption = "best",
    answers: AnswersOption = "chosen",
    prompts: Prompts = False,
    limit: Limit = None,
    max_record_mb: MaxRecordMb = 32,
    near_duplicates: NearDuplicates = None,
    redact: Redact = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a reader finds in the data: counts, roles, lengths, tools, languages, samples, and what it skips."""
    from .suites import run_inspect

    run_inspect(_request(context.params), as_json=as_json)


@suites.command("add")
def suite_add(
    context: typer.Context,
    place: Where,
    name: Annotated[
        str, typer.Option(help="Name of the suite and its task: lower-case letters, digits and underscores.")
    ],
    arm: Annotated[str, typer.Option(help="Arm: evaluation, deployment or monitor.")],
    licence: Annotated[str, typer.Option(help="Licence of the data: SPDX id or a short statement.")],
    title: Annotated[str, typer.Option(help="Title for tables. Default: the name.")] = "",
    into: Annotated[Path, typer.Option(help="Folder for the card and the task file.")] = Path("suites"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a suite of this name.")] = False,
    reader: Reader = "",
    messages_key: MessagesKey = None,
    id_key: IdKey = None,
    family_key: FamilyKey = None,
    outcome_key: OutcomeKey = None,
    model_role: ModelRole = None,
    samples: SamplesOption = "complete",
    role: Role = None,
    branches: BranchesOption = "best",
    answers: AnswersOption = "chosen",
    prompts: Prompts = False,
    limit: Limit = None,
    max_record_mb: MaxRecordMb = 32,
    near_duplicates: NearDuplicates = None,
    redact: Redact = False,
) -> None:
    """Make a suite from your own data: a card that pins it by hash or commit, and a task file for inspect eval."""
    from .suites import CardRequest, run_add

    run_add(_request(context.params), CardRequest(name, arm, licence, title, into, force))


def _request(given: dict[str, Any]) -> SourceRequest:
    """The request made by the options that both commands share. Each choice has the name of its option."""
    from ..cards.choices import THRESHOLD, ReadingChoices

    roles = dict(_pair(role) for role in given["role"] or ())
    same = ReadingChoices.model_fields.keys() - {"roles"}
    choices = ReadingChoices.parse({**{name: given[name] for name in same}, "roles": roles})
    near_duplicates = given["near_duplicates"]
    if near_duplicates is None and choices.family_key is None:
        near_duplicates = THRESHOLD
    if near_duplicates is not None and not 0 < near_duplicates <= 1:
        raise InputError(f"--near-duplicates {near_duplicates}; expected a similarity above 0 and up to 1")
    from .suites import SourceRequest

    return SourceRequest(given["place"], choices, given["reader"], near_duplicates, given["redact"])


def _pair(role: str) -> tuple[str, str]:
    name, found, meaning = role.partition("=")
    if not found or meaning not in ("system", "user", "assistant", "tool"):
        raise InputError(f"--role '{role}'; expected NAME=system, user, assistant or tool")
    return name, meaning
