"""Splits an explanation into parts, from the text alone: lines (or paragraphs) if there are several, else sentences.
Removes, keeps, exchanges, reorders and masks parts. Pure functions on strings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..judging.sentences import sentences

_WORDS = re.compile(r"\w+")
MASK = "…"
_STEM = 4
"""A word that extends an earlier word of at least this many letters counts as a repetition."""


@dataclass(frozen=True)
class Parts:
    """The parts of one text and the separators between them."""

    texts: tuple[str, ...]
    joint: str

    @classmethod
    def of(cls, text: str) -> Parts:
        """The lines of the text if more than one is not blank, else its sentences."""
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:
            return cls(tuple(lines), "\n\n" if "\n\n" in text else "\n")
        return cls(tuple(text[a:b] for a, b in sentences(text)), " ")

    def __len__(self) -> int:
        return len(self.texts)

    def without(self, index: int) -> str:
        """The text without one part."""
        return self.joint.join(t for i, t in enumerate(self.texts) if i != index)

    def only(self, index: int) -> str:
        """One part."""
        return self.texts[index]

    def exchanged(self, index: int, other: str) -> str:
        """The text with `other` in place of one part."""
        return self.joint.join(other if i == index else t for i, t in enumerate(self.texts))


def reordered(text: str, seed: int) -> str:
    """`text` with its sentences in another order. The separators stay where they are."""
    spans = sentences(text)
    if len(spans) < 2:
        return text
    order = np.random.default_rng(seed).permutation(len(spans))
    if (order == np.arange(len(spans))).all():
        order = np.roll(order, 1)
    out, at = [], 0
    for (start, end), source in zip(spans, order.tolist(), strict=True):
        out += [text[at:start], text[slice(*spans[source])]]
        at = end
    return "".join([*out, text[at:]])


def words(text: str) -> list[str]:
    """The words of `text`, lower case, in order."""
    found: list[str] = _WORDS.findall(text.lower())
    return found


def words_of(text: str) -> set[str]:
    """The distinct words of `text`, lower case."""
    return {word.lower() for word in _WORDS.findall(text)}


def repeated(text: str) -> float:
    """Share of the words of `text` that occur earlier on the same line, ignoring case; 0 without words.

    A word that extends an earlier word of at least four letters counts too ("career, careerbuilder"). When only equal
    words counted, an AV rewarded against repetition learnt to append letters to them."""
    lines = [words(line) for line in text.splitlines()]
    count = sum(map(len, lines))
    again = sum(_said(line[:place], word) for line in lines for place, word in enumerate(line))
    return again / count if count else 0.0


def _said(before: Sequence[str], word: str) -> bool:
    return any(word == one or (len(one) >= _STEM and word.startswith(one)) for one in before)


def masked(text: str, recent: str) -> str:
    """`text` with every word that also occurs in `recent` replaced by "…"."""
    seen = words_of(recent)
    return _WORDS.sub(lambda m: MASK if m[0].lower() in seen else m[0], text)
