"""Parses the options after the colon in an engine's name: `vllm-server:http://a:8000,http://b:8000,concurrency=64`.

In: text. Out: a checked frozen dataclass. This module knows neither HTTP nor vLLM."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ...errors import InputError

T = TypeVar("T")
_OPTION = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)


def engine_words(engine: str) -> tuple[list[str], dict[str, str]]:
    """(plain words, options) after the colon of `engine`, separated by commas or spaces.

    Use spaces in Inspect's `-M engine=...`, which turns any text with a comma into a list.
    """
    plain: list[str] = []
    options: dict[str, str] = {}
    for word in re.split(r"[,\s]+", engine.partition(":")[2]):
        if match := _OPTION.fullmatch(word):
            options[match[1]] = match[2]
        elif word:
            plain.append(word)
    return plain, options


def options_as(kind: type[T], engine: str, given: dict[str, Any]) -> T:
    """Make a frozen dataclass from text.

    Args:
        kind: The dataclass. Its field annotations define the allowed values.
        engine: Name of the engine, for error messages.
        given: Values by field name; strings are converted.

    Raises:
        InputError: An option is unknown, or its value is not allowed.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"engine '{engine}' has no option '{unknown[0]}'; known: {', '.join(known)}")
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as err:
        first = err.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "options"
        raise InputError(f"engine '{engine}': {name} is {first.get('input')!r}; {first['msg']}") from None
