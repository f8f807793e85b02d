"""A test instrument with a planted truth: an engine whose AV says what it is told to and whose AR is a sum of word
vectors, of the whole text or of its last line only. It is never a stand-in for a real NLA."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nla_eval.engines.base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from nla_eval.measure.held_out import HeldOut
from nla_eval.readings import StopReason

WIDTH = 64


def vector_of(text: str) -> NDArray[np.float32]:
    """The planted reading of a text: one random direction per word, and a fixed one so that no text is zero."""
    total = 0.5 * _direction("always")
    for word in re.findall(r"\w+", text.lower()):
        total = total + _direction(word)
    return total.astype(np.float32)


def _direction(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(WIDTH)


@dataclass
class PlantedReader:
    """Says `says[bytes of the activation]` and reads the whole text, or its last line only."""

    says: dict[bytes, str] = field(default_factory=dict)
    last_line_only: bool = False
    layer: int = 1
    d_model: int = WIDTH

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        for request in requests:
            words = [" ".join(f"t{t}" for t in request.token_ids[max(0, p - 3) : p + 1]) for p in request.positions]
            yield Captured(request.key, np.stack([vector_of(w) for w in words]))

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        for request in reversed(requests):
            text = self.says.get(np.asarray(request.activation, np.float32).tobytes(), "nothing to say; next: end")
            yield Draw(request.key, text, StopReason.CLOSED, len(text.split()))

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        read = [(t.splitlines() or [""])[-1] if self.last_line_only else t for t in texts]
        return np.stack([vector_of(t) for t in read])


def planted_rows(texts: Sequence[str], contexts: Sequence[str], per_conversation: int = 2) -> HeldOut:
    """Held-out rows whose activation is the planted reading of their text."""
    starts = [np.array([m.start() for m in re.finditer(r"\S+", c)][-256:], np.int64) for c in contexts]
    return HeldOut(
        kind="planted",
        activations=np.stack([vector_of(t) for t in texts]),
        contexts=list(contexts),
        starts=starts,
        continuations=[f"and then comes {c}" for c in contexts],
        roles=["user" if i % 2 else "response" for i in range(len(texts))],
        next_token=["end"] * len(texts),
        conversation=np.arange(len(texts)) // per_conversation,
    )


def says(held: HeldOut, texts: Sequence[str]) -> dict[bytes, str]:
    """What an AV says that gives each row its text."""
    return {v.tobytes(): t for v, t in zip(held.activations, texts, strict=True)}
