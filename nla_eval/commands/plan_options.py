"""Turns the declared options of `ReadingPlan` into command-line options, so that no command repeats them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from ..pipeline.options import declared
from ..pipeline.reading_plan import ReadingPlan

_PARAMETER = "plan"
_CONTEXT = "context_of_plan"


def with_plan_options(**defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `plan` by one option for each option of `ReadingPlan`.

    The plan's own checks parse the words, so a wrong word gives the same one-line error as in Python.

    Args:
        defaults: The command's own defaults, by option, where they differ from the plan's. A preset that the user names
            replaces them.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = _options(defaults)

        @wraps(command)
        def run(**given: Any) -> None:
            source = given.pop(_CONTEXT).get_parameter_source
            words = {option.name: given.pop(option.name) for option in options}
            typed = {name: word for name, word in words.items() if _was_typed(source(name))}
            command(**given, plan=ReadingPlan.of({**({} if "preset" in typed else defaults), **_by_name(typed)}))

        parameters = inspect.signature(command, eval_str=True).parameters.values()
        before = [p for p in parameters if p.name != _PARAMETER]
        context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        given = [context, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*before, *options])]
        run.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in given}
        del run.__wrapped__
        return run

    return decorate


def _options(defaults: dict[str, str]) -> list[inspect.Parameter]:
    found = []
    for name, (what, default) in declared(ReadingPlan).items():
        word = defaults.get(name, _word(default))
        found.append(_parameter(name, word, typer.Option(help=what.help, metavar=what.metavar or _metavar(default))))
        found += [_parameter(old, None, typer.Option(hidden=True)) for old in what.former]
    return found


def _parameter(name: str, default: str | None, told: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[str | None, told])


def _was_typed(source: Any) -> bool:
    """Whether an option has its value from the user: only then does it override a preset."""
    return source is not None and not source.name.startswith("DEFAULT")


def _by_name(words: dict[str, str | None]) -> dict[str, str | None]:
    """The words typed, with former option names replaced by the current ones."""
    former = {old: name for name, (what, _) in declared(ReadingPlan).items() for old in what.former}
    return {former.get(name, name): word for name, word in words.items() if word is not None}


def _word(default: Any) -> str | None:
    """A default as a user would type it."""
    if isinstance(default, tuple):
        return ",".join(default)
    return None if default is None else str(default)


def _metavar(default: Any) -> str:
    return {int: "<int>", float: "<float>"}.get(type(default), "<str>")
