"""Finds words near a word in the target's own input embedding, to describe the final token without naming it. In: the
embedding table and the words that may be used. Out: a few words, nearest first. It reads no context."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from ...engines.loading import load_embedding
from ...measure.parts import words_of
from ...measure.stop_words import stop_words
from ...models.target import Target
from .explain import Moment, Vocabulary

_LOOKED_AT = 60
"""Number of nearest words considered. Most of them are forms of the word itself."""
_STEM = 4
"""Words that share this many first letters count as forms of one word."""
_PIECES = 3
"""The embeddings of at most this many first tokens of a word are averaged."""


class Resembling:
    """Nearest words by cosine, after subtracting the mean of all candidates: without that, common words are near
    everything. Function words are still near many words, so they are offered only for function words.

    Args:
        table: (V, d) input embedding of the target.
        tokenizer: The target's.
        vocabulary: Source of the candidates: its words that are one token in the middle of a text.
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
        """Build it from a target's weights. Only the input embedding is kept."""
        return cls(load_embedding(target.path, trust=target.trust_remote_code), target.tokenizer, vocabulary)

    def completed(self, moment: Moment, count: int) -> Moment:
        """`moment` with `count` words similar to its last word, without words of its recent tokens."""
        if not moment.last_word:
            return moment
        return replace(moment, like=tuple(self.of(moment.last_word, count, words_of(moment.recent))))

    def of(self, word: str, count: int, unless: Iterable[str] = ()) -> list[str]:
        """The `count` words most similar to `word`: no forms of `word` or of the words in `unless`, and no two forms of
        one word.

        Args:
            word: Letters only, in any case.
            count: Maximum number of words; fewer if the nearest words yield no more.
            unless: Words to avoid, in lower case.
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
        stops = stop_words()
        plain = word.lower() in stops
        return tuple(w for w in said if not _one_word(w, word.lower()) and (plain or w not in stops))

    def _ids(self, word: str) -> list[int]:
        ids: list[int] = self._tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return ids


def _one_word(a: str, b: str) -> bool:
    """Whether two words count as forms of one: they share their first letters, or one extends the other."""
    short, long = sorted((a, b), key=len)
    return a[:_STEM] == b[:_STEM] if len(short) >= _STEM else long.startswith(short) and len(long) - len(short) <= 2
