"""Detects the language of a text with py3langid (a naive Bayes model over byte n-grams, 97 languages, offline).

Gives one language per text, or "unknown" if the text is too short."""

from __future__ import annotations

from itertools import islice

UNKNOWN = "unknown"
"""Language of a text with fewer than `_LETTERS` letters."""
_LETTERS = 20
_COMPARED = 500


def language_of(text: str) -> str:
    """ISO 639-1 code, or `UNKNOWN` for a text with few letters.

    Args:
        text: Only its first 500 characters are used.
    """
    start = text[:_COMPARED]
    if len(list(islice(filter(str.isalpha, start), _LETTERS))) < _LETTERS:
        return UNKNOWN
    from py3langid import classify

    return str(classify(start)[0])
