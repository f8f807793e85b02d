"""English stop words."""

from __future__ import annotations

from functools import cache


@cache
def stop_words() -> frozenset[str]:
    """scikit-learn's list. It is imported on first use: the import takes a second that a wrong option need not wait."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
