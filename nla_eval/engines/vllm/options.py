"""Reads what follows the colon of an engine's name: `vllm-server:http://a:8000,http://b:8000,concurrency=64`. Words go
in, a checked frozen dataclass comes out. It knows neither HTTP nor vLLM."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ...errors import InputError

T = TypeVar("T")
_OPTION = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)


def engine_words(engine: str) -> tuple[list[str], dict[str, str]]:
    """(plain words, options) behind the colon of `engine`, parted by commas or spaces.

    Spaces are for Inspect, whose `-M engine=...` makes a list of anything with a comma.
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
    """A frozen dataclass from words.

    Args:
        kind: The dataclass; its field annotations say what is allowed.
        engine: Name of the engine, for messages.
        given: Values by field name; strings are converted.

    Raises:
        InputError: An unknown option, or a value that is not allowed, named with what was expected.
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
