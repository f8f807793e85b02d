"""How an option of a run is declared: once, as a field of a frozen dataclass, with its default, check and line of help.

The command line, Inspect's `-T` and Python read the declaration and use the field's name. A check takes a value or the
word that was typed for it. Nothing here imports more than the standard library, so that `--help` stays cheap."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import InputError

Check = Callable[[Any], Any]
"""From a value, or the word for it, to the value. Raises ValueError ending in "expected ..."; InputError as it is."""


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its name and default."""

    help: str
    """One line."""
    check: Check
    former: tuple[str, ...] = ()
    """Names it had: hidden aliases on the command line."""
    shared: bool = True
    """Whether all readings of a store have the same, so that it is part of the store's identity."""


def option(default: Any, help: str, check: Check, *, former: tuple[str, ...] = (), shared: bool = True) -> Any:
    """The declaration of an option, as the default of a dataclass field."""
    return field(default=default, metadata={"option": Option(help, check, former, shared)})


def declared(plan: type[Any]) -> dict[str, tuple[Option, Any]]:
    """The options that a dataclass declares, each with its default, by name in their order."""
    return {f.name: (f.metadata["option"], f.default) for f in fields(plan) if "option" in f.metadata}


def checked(name: str, value: Any, check: Check) -> Any:
    """`value` as `check` gives it. Raises InputError: one line with the option, its value and what was expected."""
    try:
        return check(value)
    except ValueError as err:
        shown = f"'{value}'" if isinstance(value, str) else str(value)
        raise InputError(f"{name} is {shown}; expected {err}") from None
    except InputError as err:
        raise InputError(str(err) if name in str(err) else f"{name}: {err}") from None


def check_all(plan: Any) -> None:
    """Put what the checks give in place of what a frozen dataclass was made with; its `__post_init__`."""
    for name, (what, _) in declared(type(plan)).items():
        object.__setattr__(plan, name, checked(name, getattr(plan, name), what.check))


def known_only(words: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Refuse a name that is not declared. Raises InputError naming those that are."""
    for name in words:
        if name not in names:
            raise InputError(f"unknown option '{name}'; options are {', '.join(names)}")


def whole_number(least: int, *, optional: bool = False) -> Check:
    """A whole number of at least `least`; with `optional`, None too."""
    expected = f"a whole number of at least {least}"

    def check(value: Any) -> int | None:
        if optional and value is None:
            return None
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise ValueError(expected) from None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(expected)
        return value

    return check


def number(least: float) -> Check:
    """A finite number of at least `least`."""
    expected = f"a number of at least {least:g}"

    def check(value: Any) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            raise ValueError(expected) from None
        if not math.isfinite(found) or found < least:
            raise ValueError(expected)
        return found

    return check


def true_or_false(value: Any) -> bool:
    """True or False, or the word for it."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def one_of(known: Callable[[], tuple[str, ...]], what: str = "") -> Check:
    """One of some names.

    Args:
        known: The names; called when a value is checked, so that it may import.
        what: What they are names of, in the singular, where "unknown WHAT" reads better.
    """

    def check(value: Any) -> str:
        names = known()
        if value in names:
            return str(value)
        if what:
            raise InputError(f"unknown {what} '{value}'; known: {', '.join(names)}")
        raise ValueError(f"one of {', '.join(names)}")

    return check
