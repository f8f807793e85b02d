"""Words near a word in the target's own input embedding: what the final token is like, said without naming it. In: the
embedding table and the words that may be written. Out: a few words, nearest first. It reads no context."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ...engines.loading import load_embedding
from ...measure.parts import words_of
from ...models.target import Target
from .explain import Moment, Vocabulary

_LOOKED_AT = 60
"""Nearest words looked at; most of a word's nearest are its own forms."""
_STEM = 4
"""Words that begin with the same so many letters count as forms of one."""
_PIECES = 3
"""Tokens of a long word whose embeddings are averaged."""


class Resembling:
    """Neighbours by cosine, after the mean of all candidates is taken off: without that, common words are near all.
    Even so function words are near many; they stand only beside function words.

    Args:
        table: (V, d) input embedding of the target.
        tokenizer: The target's.
        vocabulary: Only words of it are candidates, and of those only what is one token in the middle of a text.
    """

    def __init__(self, table: torch.Tensor, tokenizer: Any, vocabulary: Vocabulary) -> None:
        self._table, self._tokenizer = table, tokenizer
        ids = {word: self._ids(word) for word in sorted(vocabulary.idf) if len(word) > 1}
        self._words = [word for word, pieces in ids.items() if len(pieces) == 1]
        chosen = table[[ids[word][0] for word in self._words]].float()
        self._mean = chosen.mean(0) if len(chosen) else torch.zeros(table.shape[1])
        self._unit = torch.nn.functional.normalize(chosen - self._mean, dim=-1)
        self._nearest = cache(self._found)

    @classmethod
    def of_checkpoint(cls, target: Target, vocabulary: Vocabulary) -> Resembling:
        """From a target's weights, of which only the input embedding is kept."""
        return cls(load_embedding(target.path, trust=target.trust_remote_code), target.tokenizer, vocabulary)

    def completed(self, moment: Moment, count: int) -> Moment:
        """`moment` with `count` words like its last one, none of which stands in its recent tokens."""
        if not moment.last_word:
            return moment
        return replace(moment, like=tuple(self.of(moment.last_word, count, words_of(moment.recent))))

    def of(self, word: str, count: int, unless: Iterable[str] = ()) -> list[str]:
        """The `count` words most like `word`; no form of it or of any in `unless`, no two forms of one.

        Args:
            word: Letters only, in any case.
            count: Fewer where there are no more among the nearest.
            unless: Lower case.
        """
        avoided, found = list(unless), list[str]()
        for other in self._nearest(word):
            if len(found) < count and not any(_one_word(other, a) for a in (*avoided, *found)):
                found.append(other)
        return found

    def _found(self, word: str) -> tuple[str, ...]:
        vector = self._table[self._ids(word)[:_PIECES]].float().mean(0) - self._mean
        near = (self._unit @ vector).topk(min(_LOOKED_AT, len(self._words))).indices.tolist()
        said = [self._words[i] for i in near]
        plain = word.lower() in ENGLISH_STOP_WORDS
        return tuple(w for w in said if not _one_word(w, word.lower()) and (plain or w not in ENGLISH_STOP_WORDS))

    def _ids(self, word: str) -> list[int]:
        ids: list[int] = self._tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return ids


def _one_word(a: str, b: str) -> bool:
    """Whether two words are taken for forms of one: the same start, or one is the other with an ending."""
    short, long = sorted((a, b), key=len)
    return a[:_STEM] == b[:_STEM] if len(short) >= _STEM else long.startswith(short) and len(long) - len(short) <= 2
