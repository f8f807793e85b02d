"""Makes foreign text safe to print: one line, without escapes that move the cursor, change colours or reverse text.

Reasons, errors and tables quote the content of files, and a file may contain anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control, bidirectional and lone surrogate characters; not line breaks and tabs."""


def one_line(text: str, longest: int = 400) -> str:
    """Replace line breaks by blanks, escape control characters, and cut to `longest` characters.

    Lone surrogates are escaped too, so that the result can be written as UTF-8.
    """
    flat = " ".join(text[: 4 * longest].split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in flat)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def visible(text: str) -> str:
    """Text with control, bidirectional and lone surrogate characters written as code points: "⟨U+202E⟩".

    Line breaks and tabs stay.
    """
    return _HIDDEN.sub(lambda c: f"⟨U+{ord(c[0]):04X}⟩", text)


def plural(n: int, noun: str, shown: str = "") -> str:
    """A count with its noun: "1 transcript", "27 transcripts". `shown` is the count as it is written, if not plain."""
    return f"{shown or n} {noun}{'' if n == 1 else 's'}"


def told(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type if the message is empty."""
    lines = str(error).split("\n")
    return one_line(lines[0]) or type(error).__name__


def first_fault(error: ValidationError, whole: str = "the file") -> str:
    """The first fault that pydantic found, with its place: "adapters.setting: Field required". `whole` names the place
    of a fault of everything."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"
