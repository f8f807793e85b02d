"""Do claims that recur over neighbouring positions come true more often? For every content word of the explanations of
ten consecutive positions: at how many it is said, and whether the context holds it.

A word found in the context is a proxy for a true claim; the share found in another window's context is its floor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from .figures import Figure, share

BINS = ((1, 1), (2, 3), (4, 6), (7, 10))
_WORD = re.compile(r"[A-Za-z][a-z'’]{3,}")
_FORMAT_SHARE = 0.5
"""A word of more explanations than this belongs to the format."""


class Recurrence(BaseModel):
    """Claims said at `least` to `most` of ten neighbouring positions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: int
    most: int
    supported: Figure
    """Share of claims whose word stands in the context; n counts claims."""
    by_chance: Figure
    """The same against the next window's context."""


def claims(text: str) -> set[str]:
    """Content words of an explanation, lower case."""
    return {w.lower() for w in _WORD.findall(text) if w.lower() not in ENGLISH_STOP_WORDS}


def recurrence(explanations: Sequence[Sequence[str]], contexts: Sequence[str]) -> list[Recurrence]:
    """One row per bin that any claim falls into.

    Args:
        explanations: Per window, the texts of its consecutive positions.
        contexts: Per window, the text up to its last position. At least two windows.
    """
    said = [[claims(t) for t in window] for window in explanations]
    spread = Counter(w for window in said for words in window for w in words)
    total = sum(len(window) for window in said)
    form = {w for w, n in spread.items() if n > _FORMAT_SHARE * total}
    known = [{w.lower() for w in _WORD.findall(c)} for c in contexts]
    found = []
    for i, window in enumerate(said):
        for word, times in Counter(w for words in window for w in words - form).items():
            found.append((times, word in known[i], word in known[(i + 1) % len(known)], i))
    rows = []
    for least, most in BINS:
        inside = [row for row in found if least <= row[0] <= most]
        if inside:
            windows = np.array([row[3] for row in inside])
            own, other = (np.array([row[k] for row in inside], float) for k in (1, 2))
            rows.append(
                Recurrence(least=least, most=most, supported=share(own, windows), by_chance=share(other, windows))
            )
    return rows
