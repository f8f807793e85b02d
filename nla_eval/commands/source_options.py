"""The options that say which data to read and how: declared once, as the signature of `source_request`, and given to
every command that reads a source. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from .suites import SourceRequest

_PARAMETER = "source"

ModelRole = Annotated[
    str | None,
    typer.Option(help="Inspect logs: model role to read. Default: target if the log has one, else main."),
]
Samples = Annotated[str, typer.Option(help="Inspect logs: complete (skip errored and invalidated samples), or all.")]


def source_request(
    place: Annotated[
        str, typer.Argument(help="Data: a file, a folder, or hf://owner/name@revision?config=NAME&split=NAME.")
    ],
    reader: Annotated[str, typer.Option(help="Name of the reader. Default: detected from the content.")] = "",
    messages_key: Annotated[str | None, typer.Option(help="Record key of the messages, as a dotted path.")] = None,
    id_key: Annotated[str | None, typer.Option(help="Record key of the id, as a dotted path.")] = None,
    family_key: Annotated[
        str | None, typer.Option(help="Record key of the prompt family. Default: near-duplicates share a family.")
    ] = None,
    outcome_key: Annotated[
        str | None,
        typer.Option(help="Record key of the outcome (what the model did). Inspect logs: name of a scorer."),
    ] = None,
    model_role: ModelRole = None,
    samples: Samples = "complete",
    role: Annotated[
        list[str] | None, typer.Option(help="Read one role name as another: tool_output=user. Repeatable.")
    ] = None,
    branches: Annotated[str, typer.Option(help="Conversation trees: best (one path) or all.")] = "best",
    answers: Annotated[str, typer.Option(help="Preference pairs: chosen, rejected or both.")] = "chosen",
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Accept records without an answer; the target writes it.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Read only this many transcripts, from the start.")] = None,
    max_record_mb: Annotated[int, typer.Option(help="Skip records larger than this, in megabytes.")] = 32,
    near_duplicates: Annotated[
        float | None,
        typer.Option(help="Prompts at least this similar share a family. Default: 0.8 without --family-key."),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Mask e-mail addresses, phone numbers, keys and the like.")
    ] = False,
) -> SourceRequest:
    """What a command is asked to read. Each choice of a card (`ReadingChoices`) has an option of its name.

    Raises:
        InputError: an option is wrong.
    """
    from ..cards.choices import THRESHOLD, ReadingChoices
    from .suites import SourceRequest

    choices = ReadingChoices.parse(
        {
            "messages_key": messages_key,
            "id_key": id_key,
            "family_key": family_key,
            "outcome_key": outcome_key,
            "model_role": model_role,
            "samples": samples,
            "roles": dict(map(_pair, role or ())),
            "branches": branches,
            "answers": answers,
            "prompts": prompts,
            "limit": limit,
            "max_record_mb": max_record_mb,
        }
    )
    if near_duplicates is None and family_key is None:
        near_duplicates = THRESHOLD
    if near_duplicates is not None and not 0 < near_duplicates <= 1:
        raise InputError(f"--near-duplicates {near_duplicates}; expected a similarity above 0 and up to 1")
    return SourceRequest(place, choices, reader, near_duplicates, redact)


def with_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `source` by the parameters of `source_request`, in its place."""
    lazy = {"SourceRequest": Any}  # not imported before a command runs
    options = inspect.signature(source_request, eval_str=True, locals=lazy).parameters

    @wraps(command)
    def run(**given: Any) -> None:
        asked = {name: given.pop(name) for name in options}
        command(**given, source=source_request(**asked))

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True, locals=lazy).parameters.values():
        parameters += options.values() if parameter.name == _PARAMETER else [parameter]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__
    return run


def _pair(role: str) -> tuple[str, str]:
    name, found, meaning = role.partition("=")
    if not found or meaning not in ("system", "user", "assistant", "tool"):
        raise InputError(f"--role '{role}'; expected NAME=system, user, assistant or tool")
    return name, meaning
