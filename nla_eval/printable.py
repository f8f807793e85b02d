"""Foreign text made safe to show: on one line, without anything that moves a cursor, colours, or reverses what is read.

Reasons, errors and tables quote what stands in files, and files may hold anything."""

from __future__ import annotations


def one_line(text: str, longest: int = 400) -> str:
    """Text with blanks for line breaks and escapes for what no terminal should get, cut to `longest` characters.

    Lone surrogates are escaped too, so that the result can be written as UTF-8.
    """
    flat = " ".join(text[: 4 * longest].split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in flat)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def told(error: Exception) -> str:
    """The first line of an error, or its type's name."""
    lines = str(error).split("\n")
    return one_line(lines[0]) or type(error).__name__
