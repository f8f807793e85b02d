"""Splits text into sentences and windows with exact character spans, for classifiers and the restatement rule.

Pure functions on strings; rules only, no language model. Explanations are fragments as often as sentences, so line
breaks and semicolons end a unit too."""

from __future__ import annotations

import re
from collections.abc import Iterator

_END = re.compile(r"(?<=[.!?;])[\"')\]]*\s+|\n+")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|Dr|Mr|Mrs|Ms|No)\.$")


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences of `text`, in order, without surrounding space; blank ones are left out."""
    spans: list[tuple[int, int]] = []
    start = 0
    for cut in _END.finditer(text):
        if _ABBREVIATION.search(text, max(0, cut.start() - 6), cut.start()):
            continue
        spans.extend(_trimmed(text, start, cut.end()))
        start = cut.end()
    spans.extend(_trimmed(text, start, len(text)))
    return spans


def windows(text: str, limit: int) -> list[tuple[int, int]]:
    """Spans that cover every sentence of `text`, each at most `limit` characters and overlapping its neighbour by half.

    A text of at most `limit` characters is one window. A single sentence beyond the limit is cut at the limit.
    """
    if len(text) <= limit:
        return _trimmed(text, 0, len(text))
    pieces = list(_pieces(text, limit // 2))
    spans: list[tuple[int, int]] = []
    first = 0
    while first < len(pieces):
        last = first
        while last + 1 < len(pieces) and pieces[last + 1][1] - pieces[first][0] <= limit:
            last += 1
        spans.append((pieces[first][0], pieces[last][1]))
        if last + 1 == len(pieces):
            break
        first = max(first + 1, (first + last + 1) // 2)
    return spans


def _pieces(text: str, size: int) -> Iterator[tuple[int, int]]:
    for start, end in sentences(text):
        for at in range(start, end, size):
            yield at, min(at + size, end)


def _trimmed(text: str, start: int, end: int) -> list[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return [(start, end)] if start < end else []
