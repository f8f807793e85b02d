"""Tells a text in a language that no classifier was measured on from English, code and terse notes (method.md 4.20).

A classifier that was measured on English knows nothing of a German turn: its word is UNCLEAR, with the language in the
note, so that it can be counted. Code, JSON, paths and short notes are judged: a language is claimed only for prose of
some length that the library py3langid finds far likelier in it than in English. It knows no classifier."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

MEASURED = frozenset({"en"})
"""Languages on which the shipped classifiers were measured."""

UNKNOWN = "unknown"
"""A script that is not Latin, in no language that py3langid would name."""

_LETTERS = 20
"""Letters of a script without spaces, and words of a Latin one, from which a language is claimed."""
_PROSE = 1000
"""Characters of prose that decide."""
_MARGIN = 15.0
"""Natural log odds against English per claim, and ..."""
_MARGIN_PER_WORD = 0.75
"""... per word."""
_ENGLISH = 0.12
"""Share of English function words from which a text is English whatever the library says."""
_NOTE = "language not measured: "

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[^<>\n]{0,200}>", re.DOTALL)
_SYMBOLS = re.compile(r"[{}\[\]<>=;|\\$#@*()/_+]")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    about after all an and as at be because been but by can check could did don't down each first for
    from had has have he her him his how i i'm if into is it it's its just let's like many may me more
    my need no not now of on only or other out over see she should so some than that that's the their
    them then there these they they're this to two up want was we were what when which who will with
    would you your
""",
    )
)


def foreign_language(text: str) -> str | None:
    """ISO 639-1 code of the language of `text` if it is long enough to tell and not one of `MEASURED`, else None."""
    prose = _prose(text)
    other = [c for c in prose if c.isalpha() and not _latin(c)]
    letters = sum(c.isalpha() for c in prose)
    if len(other) >= _LETTERS and 2 * len(other) > letters:
        return _named(prose) or UNKNOWN
    words = [word.lower().replace("’", "'") for word in _WORD.findall(prose)]
    if len(words) < _LETTERS or sum(w in _FUNCTION_WORDS for w in words) >= _ENGLISH * len(words):
        return None
    scores = _scores(" ".join(words))
    language = max(scores, key=scores.__getitem__)
    odds = scores[language] - scores["en"]
    return language if odds >= max(_MARGIN, _MARGIN_PER_WORD * len(words)) else None


def language_note(language: str) -> str:
    """The note of a judgement that is UNCLEAR because of its language."""
    return f"{_NOTE}{language}"


def languages_noted(notes: Iterable[str | None]) -> dict[str, int]:
    """How many judgements were UNCLEAR because of their language, by language, most first."""
    found = Counter(note.removeprefix(_NOTE) for note in notes if note and note.startswith(_NOTE))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _prose(text: str) -> str:
    """The lines of `text` that are neither code nor data, as far as needed."""
    lines = _CODE.sub(" ", text[: 4 * _PROSE]).splitlines()
    kept = [line for line in lines if len(_SYMBOLS.findall(line)) <= 0.04 * len(line) + 1]
    return "\n".join(kept)[:_PROSE]


def _latin(character: str) -> bool:
    return character.isascii() or "LATIN" in unicodedata.name(character, "")


def _named(text: str) -> str | None:
    scores = _scores(text)
    language = max(scores, key=scores.__getitem__)
    return None if language in MEASURED else language


def _scores(text: str) -> dict[str, float]:
    """Log likelihood of `text` by language."""
    from py3langid import rank

    return {str(language): float(score) for language, score in rank(text)}
