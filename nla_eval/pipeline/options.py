"""Declares options of a run: each once, as a field of a frozen dataclass, with its default, check and line of help.

The command line, Inspect's `-T` and Python read the declaration and use the field's name. A check accepts a value or
the text typed for it. Nothing here imports more than the standard library, so that `--help` stays fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import InputError

Check = Callable[[Any], Any]
"""Function from a value, or the text typed for it, to the value. Raises ValueError with what was expected, or an
InputError with the whole message."""


@dataclass(frozen=True)
class Option:
    """The declaration of an option, without its name and default."""

    help: str
    """One line."""
    check: Check
    former: tuple[str, ...] = ()
    """Former names, kept as hidden aliases on the command line."""
    shared: bool = True
    """Whether all readings of a store share the value, so that it is part of the store's identity."""
    metavar: str = ""
    """What stands for the value in `--help`; empty: the type of the default."""


def option(
    default: Any,
    help: str,
    check: Check,
    *,
    former: tuple[str, ...] = (),
    shared: bool = True,
    metavar: str = "",
) -> Any:
    """Declare an option: use the result as the default of a dataclass field."""
    return field(default=default, metadata={"option": Option(help, check, former, shared, metavar)})


def declared(plan: type[Any]) -> dict[str, tuple[Option, Any]]:
    """The options that a dataclass declares, by name and in order, each with its default."""
    return {f.name: (f.metadata["option"], f.default) for f in fields(plan) if "option" in f.metadata}


def checked(name: str, value: Any, check: Check) -> Any:
    """Return the result of `check` on `value`. Raises InputError with the option, its value and what was expected."""
    try:
        return check(value)
    except ValueError as err:
        shown = f"'{value}'" if isinstance(value, str) else str(value)
        raise InputError(f"{name} is {shown}; expected {err}") from None
    except InputError as err:
        raise InputError(str(err) if name in str(err) else f"{name}: {err}") from None


def check_all(plan: Any) -> None:
    """Check every option of a frozen dataclass and store the checked values. Call it in `__post_init__`."""
    for name, (what, _) in declared(type(plan)).items():
        object.__setattr__(plan, name, checked(name, getattr(plan, name), what.check))


def known_only(words: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Check that every name in `words` is in `names`. Raises InputError listing the known names."""
    for name in words:
        if name not in names:
            raise InputError(f"unknown option '{name}'; options are {', '.join(names)}")


def whole_number(least: int, *, optional: bool = False) -> Check:
    """Check for a whole number of at least `least`, or None if `optional`."""
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
    """Check for a finite number of at least `least`."""
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
    """Check for True or False, or the word for it."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def one_of(known: Callable[[], tuple[str, ...]], what: str = "") -> Check:
    """Check for one of several names.

    Args:
        known: Returns the names. It is called only when a value is checked, so it may import.
        what: What the names stand for, in the singular. If given, the error says "unknown WHAT".
    """

    def check(value: Any) -> str:
        names = known()
        if value in names:
            return str(value)
        if what:
            raise InputError(f"unknown {what} '{value}'; known: {', '.join(names)}")
        raise ValueError(f"one of {', '.join(names)}")

    return check
