"""The writer of plain sentences. It needs no other model: facts come from the text so far and from the target's own
predictions, and a claim is made only where a linear reader of the activations is sure; see `readable`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...measure.claims import CLAIMS, Spot
from ...measure.sentences import sentences_of
from ...measure.shown_tokens import is_mark
from ..explanations.explain import expected, now
from ..explanations.readable import OTHER, Rows, worth_making
from .base import WRITERS, Request, WriterContext, Written

BEFORE = "before"
_WORDS = 400
"""Number of most frequent words that the claim `before` can name."""


@WRITERS.register("plain")
class Plain:
    """Builds sentences from claims; see `measure.sentences`."""

    def __init__(self, context: WriterContext) -> None:
        self._context = context

    def cost(self, requests: Sequence[Request]) -> str:
        """The number of explanations, and the time they take."""
        return f"{len(requests)} explanations in sentences, about two core-minutes per 5,000"

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One result per request, each of a captured position."""
        claims = self._claims(requests)
        return [
            Written(sentences_of(now(r.moment), expected(r.moment), said, _choice(r)))
            for r, said in zip(requests, claims, strict=True)
        ]

    def _claims(self, requests: Sequence[Request]) -> list[dict[str, str]]:
        """The claims worth making at each position. Prints how often each is made."""
        rows = Rows(
            self._context.activations()[[r.captured for r in requests]].float().numpy(),
            np.array([r.row for r in requests], np.int64),
            np.array([r.held_out for r in requests], bool),
        )
        made: list[dict[str, str]] = [{} for _ in requests]
        for name, known in self._values(requests).items():
            worth = worth_making(rows, known, self._context.config.writer.right)
            for row in np.flatnonzero(worth):
                if (value := known[row]) not in (None, OTHER):
                    made[row][name] = str(value)
            print(f"claims of {name}: at {sum(name in m for m in made)} of {len(made)} positions", flush=True)
        return made

    def _values(self, requests: Sequence[Request]) -> dict[str, list[str | None]]:
        """Claim to what the text says at each position. A word before that is uncommon or rare is `OTHER`."""
        moments = [r.moment for r in requests]
        spots = [Spot(m.text, m.channel, len(m.text) - len(m.token)) for m in moments]
        values = {claim.name: [claim.value(spot) for spot in spots] for claim in CLAIMS}
        common = self._context.vocabulary().common
        named = [w if w is not None and (is_mark(w) or common(w)) else OTHER for w in values[BEFORE]]
        values[BEFORE] = frequent(named, _WORDS)
        return values


def frequent(values: Sequence[str], most: int) -> list[str | None]:
    """`values` with all but the `most` frequent ones replaced by `OTHER`. Ties are broken by the value."""
    counts = Counter(value for value in values if value != OTHER)
    kept = set(sorted(counts, key=lambda v: (-counts[v], v))[:most])
    return [value if value in kept else OTHER for value in values]


def _choice(request: Request) -> int:
    """A number that only the position decides."""
    return int.from_bytes(hashlib.sha256(f"{request.row}/{request.position}".encode()).digest()[:4], "big")
