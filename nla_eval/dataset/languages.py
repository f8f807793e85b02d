"""Detects the language of a text with py3langid (a naive Bayes model over byte n-grams, 97 languages, offline).

Gives one language per text, or "unknown" if the text is too short. The model is py3langid's; the walk over the bytes is
done here, for all places of a text at once, because a Python step for each byte took half of the time."""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "unknown"
"""Language of a text with fewer than `_LETTERS` letters."""
_LETTERS = 20
_COMPARED = 500
_AT_ONCE = 4096
"""States whose 256 next ones are looked up together: 8 MB."""


def language_of(text: str) -> str:
    """ISO 639-1 code, or `UNKNOWN` for a text with few letters.

    Args:
        text: Only its first 500 characters are used.
    """
    start = text[:_COMPARED]
    if len(list(islice(filter(str.isalpha, start), _LETTERS))) < _LETTERS:
        return UNKNOWN
    return _model().language(start)


class _Model:
    """What `py3langid.classify` does, in arrays: tests compare the two.

    Args:
        identifier: A `py3langid.langid.LanguageIdentifier`.
    """

    def __init__(self, identifier: Any) -> None:
        self._next = np.frombuffer(identifier.tk_nextmove, np.dtype(identifier.tk_nextmove.typecode))
        self._row = np.array(identifier.tk_row, np.intp) << 8
        self._feature = np.array(identifier.tk_output, np.intp)
        self._weights, self._prior, self._languages = identifier.nb_ptc, identifier.nb_pc, identifier.nb_classes
        self._longest = self._deepest()
        # Half precision is widened row by row as rows are met: of a hundred thousand, a data set uses a few thousand.
        self._wide = np.empty(self._weights.shape, np.float32)
        self._widened = np.zeros(len(self._weights), bool)

    def language(self, text: str) -> str:
        """The likeliest language. A text without any known n-gram gets the first one, as in py3langid."""
        lower = text.lower() if text.isupper() else text
        raw = unicodedata.normalize("NFC", lower).encode("utf-8", "surrogatepass")
        features, first, counts = np.unique(self._features(raw), return_index=True, return_counts=True)
        if not len(features):
            return str(self._languages[0])
        new = features[~self._widened[features]]
        self._wide[new], self._widened[new] = self._weights[new], True
        met = np.argsort(first)  # py3langid adds in this order; another one changes the last digit
        scores = np.log1p(counts[met].astype(np.float32)) @ self._wide[features[met]] + self._prior
        return str(self._languages[int(scores.argmax())])

    def _features(self, raw: bytes) -> NDArray[np.intp]:
        """The n-gram that ends at each byte, where the model knows one.

        The state of the automaton is the longest known n-gram that ends at a byte. So a walk from the start over the
        bytes of the longest n-gram ends in the same state as one over the whole text, and all places can be walked at
        once. Before the text stands nothing: the first places walk fewer bytes.
        """
        letters = np.frombuffer(raw, np.uint8)
        states = np.zeros(len(letters), np.intp)
        for back in range(min(self._longest, len(letters)) - 1, -1, -1):
            states[back:] = self._next[self._row[states[back:]] + letters[: len(letters) - back]]
        found = self._feature[states]
        return found[found >= 0]

    def _deepest(self) -> int:
        """Bytes of the longest n-gram: steps until every state has been reached from the first one."""
        known = np.zeros(len(self._row), bool)
        reached, steps = np.zeros(1, np.intp), -1
        while len(reached):
            new = np.zeros_like(known)
            for some in np.array_split(reached, 1 + len(reached) // _AT_ONCE):
                new[self._next[self._row[some][:, None] + np.arange(256)]] = True
            known[reached] = True
            reached, steps = np.flatnonzero(new & ~known), steps + 1
        return steps


@cache
def _model() -> _Model:
    from py3langid import langid

    langid.classify("")  # loads the model, which others in this process share
    return _Model(langid.IDENTIFIER)
