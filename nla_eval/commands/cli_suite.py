"""The arguments of `nla-eval suite`. It parses and hands on; the work is in `commands/suites.py` and `suite_list.py`,
imported when called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from .suites import SourceRequest

suites = typer.Typer(no_args_is_help=True, help="What there is to read, and making suites of data you have.")

Where = Annotated[str, typer.Argument(help="A file, a folder, or hf://owner/name@revision?config=NAME&split=NAME.")]
Reader = Annotated[str, typer.Option(help="Name of the reader; found by content where none is given.")]
MessagesKey = Annotated[str | None, typer.Option(help="Where a record holds its messages, dotted.")]
IdKey = Annotated[str | None, typer.Option(help="Where a record holds its id, dotted.")]
FamilyKey = Annotated[
    str | None, typer.Option(help="Where a record holds its prompt family. Default: near-duplicates share one.")
]
OutcomeKey = Annotated[
    str | None, typer.Option(help="Where a record holds what the model did; Inspect logs: a scorer's name.")
]
ModelRole = Annotated[
    str | None,
    typer.Option(help="Inspect logs: whose conversation to read. Default: target if there is one, else main."),
]
SamplesOption = Annotated[
    str, typer.Option("--samples", help="Inspect logs: complete (no errored or invalidated samples), or all.")
]
Role = Annotated[list[str] | None, typer.Option(help="Another role's name and what it means: tool_output=user.")]
BranchesOption = Annotated[str, typer.Option("--branches", help="Trees: best (one path) or all.")]
AnswersOption = Annotated[str, typer.Option("--answers", help="Preference pairs: chosen, rejected or both.")]
Prompts = Annotated[bool, typer.Option("--prompts", help="Take records without an answer: the target writes it.")]
Limit = Annotated[int | None, typer.Option(help="At most this many transcripts, from the start.")]
MaxRecordMb = Annotated[int, typer.Option(help="Leave out records of more megabytes.")]
NearDuplicates = Annotated[
    float | None, typer.Option(help="Similarity from which prompts share a family; default 0.8 without --family-key.")
]
Redact = Annotated[bool, typer.Option("--redact", help="Mask e-mail addresses, phone numbers, keys and the like.")]


@suites.command("list")
def suite_list() -> None:
    """List the suites with arm, size, families, licence and whether they can be read here."""
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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what is understood of a place: counts, roles, lengths, tools, languages, samples, and what is left out."""
    from .suites import run_inspect

    run_inspect(_request(context.params), as_json=as_json)


@suites.command("add")
def suite_add(
    context: typer.Context,
    place: Where,
    name: Annotated[str, typer.Option(help="Slug of the suite and its task.")],
    arm: Annotated[str, typer.Option(help="evaluation, deployment or monitor.")],
    licence: Annotated[str, typer.Option(help="SPDX id or a short statement, of the data.")],
    title: Annotated[str, typer.Option(help="A line for tables. Default: the name.")] = "",
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
    """Make a suite of data you have: a card, pinned by hash or commit, and a task file for inspect eval."""
    from .suites import CardRequest, run_add

    run_add(_request(context.params), CardRequest(name, arm, licence, title, into, force))


def _request(given: dict[str, Any]) -> SourceRequest:
    """What the options that both commands have come to; each choice has the name of its option."""
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
