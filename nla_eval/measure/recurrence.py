"""Are claims that recur over neighbouring positions true more often? For every content word in the explanations of ten
consecutive positions: the number of positions whose explanation has it, and whether the context has it.

A word in the context is a proxy for a true claim. The share found in another window's context is the chance level."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from .figures import Figure, share
from .stop_words import stop_words

BINS = ((1, 1), (2, 3), (4, 6), (7, 10))
_WORD = re.compile(r"[A-Za-z][a-z'’]{3,}")
_FORMAT_SHARE = 0.5
"""A word in more than this share of explanations belongs to the format."""


class Recurrence(BaseModel):
    """Claims made at `least` to `most` of ten neighbouring positions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: int
    most: int
    supported: Figure
    """Share of claims whose word occurs in the context; n counts claims."""
    by_chance: Figure
    """The same share in the next window's context."""


def claims(text: str) -> set[str]:
    """Content words of an explanation, lower case."""
    return {w.lower() for w in _WORD.findall(text) if w.lower() not in stop_words()}


def recurrence(explanations: Sequence[Sequence[str]], contexts: Sequence[str]) -> list[Recurrence]:
    """One row per non-empty bin of claims.

    Args:
        explanations: Per window: the explanations of its consecutive positions.
        contexts: Per window: the text up to its last position. At least two windows.
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
