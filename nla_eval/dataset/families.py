"""Puts near-duplicates into one family, because two transcripts of nearly the same prompt are not two independent ones.

In: transcripts with the families that their source's rule gave. Out: for every transcript its final family. Exact
copies are found by hash, near ones by MinHash (Broder 1997) in `datasketch`. It compares what users say: system prompts
are often shared by a whole data set, and answers are what is measured."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..cards.choices import THRESHOLD
from ..transcript import Transcript, content_parts

if TYPE_CHECKING:
    from datasketch import MinHash

FEWEST_WORDS = 24
"""A prompt of fewer words is nobody's near-duplicate: a change of one word in the midst of them falls below 0.8."""
COMPARED = 8_000
"""Characters of a prompt that are compared."""
_OPENING = 120
_PERMUTATIONS = 128
_WEIGHTS = (0.1, 0.9)
"""Of false and of missed candidates: a candidate's similarity is looked at again, a missed one is lost."""
_TRIPLE = 3
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd, one for each word of a triple."""
# Chinese, Japanese and Korean do not put blanks between words: each of their characters counts as one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
# Where all is ASCII, blanks for all else give the same words in a third of the time.
_BLANKS = str.maketrans({char: " " for char in map(chr, range(128)) if not char.isalnum()})


@dataclass(frozen=True)
class Family:
    """A final family, for whoever looks through them."""

    name: str
    transcripts: int
    opening: str
    """The start of its first prompt, as it was read."""


@dataclass
class Families:
    """Families being found, one transcript after the other; memory grows by about 2 kB for each distinct prompt."""

    threshold: float = THRESHOLD
    merge: bool = True
    """Whether near-duplicates share a family. Otherwise they are only counted."""
    exact: int = 0
    """Transcripts whose prompt is a copy of an earlier one's."""
    near: int = 0
    """Those whose prompt is nearly an earlier one's, and no copy."""
    _parent: dict[str, str] = field(default_factory=dict)
    _of: dict[str, str] = field(default_factory=dict)
    _copies: dict[str, str] = field(default_factory=dict)
    _prints: dict[str, MinHash] = field(default_factory=dict)
    _opening: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from datasketch import MinHashLSH  # with SciPy: too slow for the start of every Inspect command

        self._index = MinHashLSH(threshold=self.threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)

    def add(self, transcript: Transcript, shown: Transcript | None = None) -> None:
        """Take a transcript in; its family grows together with that of a near-duplicate.

        Only the first prompt of a group of near-duplicates is compared with later ones, so every prompt is near the
        first of its group, and no chain of small steps joins prompts that are not alike (leader clustering, Hartigan
        1975). Short prompts are joined where they are copies, together with their system prompt, and never else: in a
        short text a template or a greeting is most of the words.

        Args:
            transcript: As it was read.
            shown: As it may be shown, where something in it is masked.
        """
        family = transcript.family
        self._of[transcript.id] = family
        self._parent.setdefault(family, family)
        text = prompt_text(transcript)
        if family not in self._opening:
            self._opening[family] = (prompt_text(shown) if shown else text)[:_OPENING]
        words = _words(text)
        if not words:
            return
        short = len(words) < FEWEST_WORDS
        compared = [*words, "", *_words(_said(transcript, "system"))] if short else words
        digest = hashlib.sha256(" ".join(compared).encode("utf-8", "surrogatepass")).hexdigest()
        if digest in self._copies:
            self.exact += 1
            self._join(self._copies[digest], family)
            return
        self._copies[digest] = family
        if short:
            return
        made = _print(words)
        alike = sorted((-self._prints[key].jaccard(made), key) for key in self._index.query(made))
        if alike and -alike[0][0] >= self.threshold:
            self.near += 1
            self._join(self._copies[alike[0][1]], family)
            return
        self._index.insert(digest, made)
        self._prints[digest] = made

    def of(self, transcript: Transcript) -> str:
        """The final family of a transcript that was added: the first name of those that grew together."""
        return self._root(self._of[transcript.id])

    def sizes(self) -> Counter[str]:
        """Transcripts in each final family."""
        return Counter(self._root(family) for family in self._of.values())

    def largest(self, count: int) -> list[Family]:
        """The largest final families, largest first."""
        return [Family(name, held, self._opening.get(name, "")) for name, held in self.sizes().most_common(count)]

    def _root(self, family: str) -> str:
        while self._parent[family] != family:
            self._parent[family] = self._parent[self._parent[family]]
            family = self._parent[family]
        return family

    def _join(self, first: str, second: str) -> None:
        if self.merge:
            self._parent[self._root(second)] = self._root(first)


def families_of(transcripts: Iterable[Transcript], threshold: float = THRESHOLD) -> Families:
    """The families of `transcripts`, which are read once."""
    found = Families(threshold)
    for transcript in transcripts:
        found.add(transcript)
    return found


def prompt_text(transcript: Transcript) -> str:
    """What users say, up to `COMPARED` characters; the system prompt where no user says anything."""
    for role in ("user", "system"):
        text = _said(transcript, role)
        if text.strip():
            return text
    return ""


def _said(transcript: Transcript, role: str) -> str:
    said = (text for m in transcript.messages if m.role == role for _, text in content_parts(m))
    return "\n".join(said)[:COMPARED]


def _words(text: str) -> list[str]:
    """Its words in order, in lower case."""
    lower = text.lower()
    return lower.translate(_BLANKS).split() if lower.isascii() else _WORD.findall(lower)


@cache
def _blank() -> MinHash:
    """Copies share its permutations, which are the larger part. It takes triples that are hashed already."""
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, hashfunc=int)


def _print(words: list[str]) -> MinHash:
    """What `update_batch` makes of the triples, without a Python number for each: tests compare the two."""
    made = _blank().copy()
    factors, offsets = made.permutations
    values = np.multiply.outer(factors, _mixed(_triples(words)))
    values += offsets[:, None]
    made.hashvalues = values.min(axis=1)
    return made


def _mixed(hashed: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finalizer (Appleby 2011), by which datasketch mixes hashes before it permutes them."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
    return hashed ^ (hashed >> np.uint32(16))


def _triples(words: list[str]) -> NDArray[np.uint32]:
    """A hash of each word triple, in order; of fewer words one of all of them.

    Each word is hashed once, and triples of numbers are hashed together by vector multiply-shift (Dietzfelbinger 1996),
    the upper half of a sum of products modulo 2^64: joining and hashing a thousand strings took three times as long.
    """
    hashed = np.zeros(max(len(words), _TRIPLE), np.uint64)
    hashed[: len(words)] = np.fromiter(map(_HASHES.__getitem__, words), np.uint64, len(words))
    sums = hashed[:-2] * _FACTORS[0] + hashed[1:-1] * _FACTORS[1] + hashed[2:] * _FACTORS[2]
    triples: NDArray[np.uint32] = (sums >> np.uint64(32)).astype(np.uint32)
    return triples


class _Hashes(dict[str, int]):
    """The hash of each word that was met: a few thousand words make most of any text."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MOST_WORDS:
            self.clear()
        self[word] = found = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return found


_MOST_WORDS = 1 << 16
_HASHES = _Hashes()
