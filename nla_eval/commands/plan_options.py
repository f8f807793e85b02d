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


def with_plan_options(**defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `plan` by one option for each option of `ReadingPlan`.

    The plan's own checks parse the words, so a wrong word gives the same one-line error as in Python.

    Args:
        defaults: The command's own defaults, by option, where they differ from the plan's.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = _options(defaults)

        @wraps(command)
        def run(**given: Any) -> None:
            words = {option.name: given.pop(option.name) for option in options}
            command(**given, plan=ReadingPlan.of(_by_name(words)))

        parameters = inspect.signature(command, eval_str=True).parameters.values()
        before = [p for p in parameters if p.name != _PARAMETER]
        given = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*before, *options]]
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


def _by_name(words: dict[str, str | None]) -> dict[str, str | None]:
    """The words given, with former option names replaced by the current ones."""
    found = {name: words[name] for name in declared(ReadingPlan)}
    for name, (what, _) in declared(ReadingPlan).items():
        for old in what.former:
            found[name] = words[old] if words[old] is not None else found[name]
    return found


def _word(default: Any) -> str | None:
    """A default as a user would type it."""
    if isinstance(default, tuple):
        return ",".join(default)
    return None if default is None else str(default)


def _metavar(default: Any) -> str:
    return {int: "<int>", float: "<float>"}.get(type(default), "<str>")
