"""The language of a text, by the library py3langid (a naive Bayes model over byte n-grams, 97 languages, offline).

It names one language for any text; what is too short to tell is said to be so."""

from __future__ import annotations

from itertools import islice

UNKNOWN = "unknown"
"""Fewer than `_LETTERS` letters."""
_LETTERS = 20
_COMPARED = 500


def language_of(text: str) -> str:
    """ISO 639-1 code, or `UNKNOWN` for a text of few letters.

    Args:
        text: Its first 500 characters decide.
    """
    start = text[:_COMPARED]
    if len(list(islice(filter(str.isalpha, start), _LETTERS))) < _LETTERS:
        return UNKNOWN
    from py3langid import classify

    return str(classify(start)[0])
