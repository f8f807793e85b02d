"""Joins near-duplicates into one family, because two transcripts of nearly the same prompt are not independent.

In: transcripts with the families given by their source's rule. Out: the final family of every transcript. Exact copies
are found by hash, candidates for near-duplicates by MinHash (Broder 1997) with `datasketch`, and their similarity by a
finer sketch. Only user messages are compared: a whole data set often shares one system prompt, and answers are the
measured outcome."""

from __future__ import annotations

import hashlib
import re
import zlib
from array import array
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
"""Prompts with fewer words are not compared: changing one word in the middle gives a similarity below 0.8."""
COMPARED = 1_000_000
"""Number of characters of a prompt that are compared: more than a context window holds. Any smaller number would take
tasks for copies that open with the same text of that length."""
_OPENING = 120
_PERMUTATIONS = 128
_WEIGHTS = (0.1, 0.9)
"""Weights of false and missed candidates. A false one costs a second comparison; a missed one is lost."""
_BINS = 512
"""Bins of the finer sketch. Its standard error at the threshold is 0.018; that of MinHash is 0.035, by which tasks that
share four fifths of their words were sometimes taken for near-duplicates."""
_EMPTY = 0xFFFF
_AT_ONCE = 8192
"""Triples that are permuted together: 4 MB."""
_TRIPLE = 3
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd factors, one for each word of a triple."""
# Chinese, Japanese and Korean have no blanks between words: each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
# For ASCII text, replacing other characters by blanks gives the same words in a third of the time.
_BLANKS = str.maketrans({char: " " for char in map(chr, range(128)) if not char.isalnum()})


@dataclass(frozen=True)
class Family:
    """A final family, for display."""

    name: str
    transcripts: int
    opening: str
    """Start of its first prompt, unchanged."""


@dataclass
class Families:
    """Finds families incrementally. Memory grows by about 2 kB per distinct prompt."""

    threshold: float = THRESHOLD
    merge: bool = True
    """Whether near-duplicates share a family. Otherwise they are only counted."""
    exact: int = 0
    """Transcripts whose prompt is a copy of an earlier prompt."""
    near: int = 0
    """Transcripts whose prompt is a near-duplicate of an earlier prompt, but not a copy."""
    _parent: dict[str, str] = field(default_factory=dict)
    _of: dict[str, str] = field(default_factory=dict)
    _copies: dict[str, str] = field(default_factory=dict)
    _prints: dict[str, NDArray[np.uint16]] = field(default_factory=dict)
    _opening: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from datasketch import MinHashLSH  # imports SciPy: too slow for every Inspect command

        self._index = MinHashLSH(threshold=self.threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)

    def add(self, transcript: Transcript, shown: Transcript | None = None) -> None:
        """Add a transcript. Its family is merged with the family of a near-duplicate.

        Later prompts are compared only with the first prompt of each group (leader clustering, Hartigan 1975). Every
        prompt is thus near the first of its group, and no chain of small changes joins different prompts. Short prompts
        are joined only if prompt and system prompt are copies, because most words of a short text may be a template or
        a greeting.

        Args:
            transcript: The transcript, unmasked.
            shown: The transcript for display, if it is masked.
        """
        family = transcript.family
        self._of[transcript.id] = family
        self._parent.setdefault(family, family)
        text = prompt_text(transcript)
        if family not in self._opening:
            masked = shown is not None and shown is not transcript
            self._opening[family] = (prompt_text(shown) if masked and shown else text)[:_OPENING]
        words = _words(text)
        if not words:
            return
        short = len(words) < FEWEST_WORDS
        compared = [*words, b"", *_words(_said(transcript, "system"))] if short else words
        digest = hashlib.sha256(b" ".join(compared)).hexdigest()
        if digest in self._copies:
            self.exact += 1
            self._join(self._copies[digest], family)
            return
        self._copies[digest] = family
        if short:
            return
        triples = _mixed(_triples(words))
        made, bins = _print(triples), _bins(triples)
        alike = sorted((-_similarity(self._prints[key], bins), key) for key in self._index.query(made))
        if alike and -alike[0][0] >= self.threshold:
            self.near += 1
            self._join(self._copies[alike[0][1]], family)
            return
        self._index.insert(digest, made)
        self._prints[digest] = bins

    def of(self, transcript: Transcript) -> str:
        """The final family of an added transcript: the first name among the merged families."""
        return self._root(self._of[transcript.id])

    def sizes(self) -> Counter[str]:
        """Number of transcripts per final family."""
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
    """The families of `transcripts`. The iterable is read once."""
    found = Families(threshold)
    for transcript in transcripts:
        found.add(transcript)
    return found


def prompt_text(transcript: Transcript) -> str:
    """The user messages, up to `COMPARED` characters; the system prompt if there are none."""
    for role in ("user", "system"):
        text = _said(transcript, role)
        if text.strip():
            return text
    return ""


def _said(transcript: Transcript, role: str) -> str:
    said = (text for m in transcript.messages if m.role == role for _, text in content_parts(m))
    return "\n".join(said)[:COMPARED]


def _words(text: str) -> list[bytes]:
    """The words of `text` in order, lower case, in UTF-8."""
    lower = text.lower()
    if lower.isascii():
        return lower.translate(_BLANKS).encode().split()
    return [word.encode("utf-8", "surrogatepass") for word in _WORD.findall(lower)]


@cache
def _blank() -> MinHash:
    """An empty MinHash for pre-hashed triples. Its copies share the permutations, which take most of its memory."""
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, hashfunc=int)


def _print(mixed: NDArray[np.uint32]) -> MinHash:
    """What `update_batch` makes of the triples, without a Python number for each: tests compare the two.

    Args:
        mixed: Hashes of the triples.
    """
    made = _blank().copy()
    factors, offsets = made.permutations
    for start in range(0, len(mixed), _AT_ONCE):
        values = np.multiply.outer(factors, mixed[start : start + _AT_ONCE])
        values += offsets[:, None]
        np.minimum(made.hashvalues, values.min(axis=1), out=made.hashvalues)
    return made


def _bins(mixed: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """The smallest hash in each of `_BINS` equal ranges of hashes, 16 bits of it; `_EMPTY` for a range without any.

    One-permutation hashing (Li, Owen and Zhang 2012): as good as 512 permutations for the price of a sort.
    """
    ordered = np.sort(mixed)
    bins = ordered // np.uint32((1 << 32) // _BINS)
    first = np.flatnonzero(np.diff(bins, prepend=np.uint32(_BINS)))
    made = np.full(_BINS, _EMPTY, np.uint16)
    made[bins[first]] = ordered[first] & 0xFFFF
    return made


def _similarity(first: NDArray[np.uint16], second: NDArray[np.uint16]) -> float:
    """Estimated Jaccard similarity of two sets of triples, by `_bins` of each."""
    filled = (first != _EMPTY) | (second != _EMPTY)
    return float(np.mean((first == second)[filled]))


def _mixed(hashed: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finalizer (Appleby 2011), by which datasketch mixes hashes before it permutes them."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
    return hashed ^ (hashed >> np.uint32(16))


def _triples(words: list[bytes]) -> NDArray[np.uint32]:
    """A hash of each word triple, in order. With fewer than three words: one hash of all of them.

    Each word is hashed once, anew in each text: on data of many words a look into a table of known ones misses the
    processor's cache and took five times as long. Triples of these numbers are hashed by vector multiply-shift
    (Dietzfelbinger 1996): the upper half of a sum of products modulo 2^64. Joining and hashing a thousand strings took
    three times as long.
    """
    hashed = np.zeros(max(len(words), _TRIPLE), np.uint64)
    hashed[: len(words)] = array("Q", map(zlib.crc32, words))
    sums = hashed[:-2] * _FACTORS[0] + hashed[1:-1] * _FACTORS[1] + hashed[2:] * _FACTORS[2]
    triples: NDArray[np.uint32] = (sums >> np.uint64(32)).astype(np.uint32)
    return triples
