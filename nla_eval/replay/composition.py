"""Runs of characters that a tokenizer's Unicode normaliser rewrites together, so that no token inside one of them has
characters of its own.

Normal forms compose a letter with a mark that need not follow it directly (a + U+3099 + U+0301 is U+00E1 + U+3099) and
sort marks by class, so single characters cannot be mapped to tokens. But nothing is composed or sorted across a
character that begins a run: one of combining class 0 that composes with nothing before it (Unicode Standard Annex 15,
"Stable Code Points"). In: text and the tokenizer's backend. Out: the runs. This module knows nothing of templates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal

from tokenizers import Tokenizer

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
_FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "NFKD")
_PROBE = "a\u0301\u0323\ufb01\u1100\u1161"
"""Text that every normal form writes differently."""


def normal_form(backend: Tokenizer) -> Form | None:
    """The normal form in which this tokenizer reads text; None if it reads it as it stands, or in none of the four."""
    if backend.normalizer is None:
        return None
    seen = backend.normalizer.normalize_str(_PROBE)
    return next((form for form in _FORMS if seen.endswith(unicodedata.normalize(form, _PROBE))), None)


def rewritten_runs(text: str, form: Form) -> Iterator[tuple[int, int]]:
    """Characters [start, end) of each run of two or more that `form` changes, in order."""
    joining = "".join(char for char in set(text) if ord(char) > 127 and _joins(char))
    if not joining:
        return
    for run in re.finditer(f".?[{re.escape(joining)}]+", text, re.DOTALL):
        if len(run[0]) > 1 and not unicodedata.is_normalized(form, run[0]):
            yield run.span()


def _joins(char: str) -> bool:
    """Whether `char` may be composed with, or sorted among, the characters before it."""
    first = unicodedata.normalize("NFKD", char)[0]
    return unicodedata.combining(first) != 0 or first in _seconds()


@cache
def _seconds() -> frozenset[str]:
    """Every character that is the second of a canonical composition, vowels and finals of Hangul included."""
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(0x110000))
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    return frozenset(seconds | {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))})
