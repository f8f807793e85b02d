"""The writer of plain sentences. It needs no other model: facts come from the text so far and from the target's own
predictions, and a claim is made only where a linear reader of the activations is sure; see `readable`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..explanations.claims import CLAIMS, before, frequent
from ..explanations.readable import NOTHING, read
from ..explanations.sentences import sentences_of
from .base import WRITERS, Request, WriterContext, Written


@WRITERS.register("plain")
class Plain:
    """Builds sentences from claims; see `sentences`."""

    def __init__(self, context: WriterContext) -> None:
        self._context = context

    def cost(self, requests: Sequence[Request]) -> str:
        """The number of explanations, and the time they take."""
        return f"{len(requests)} explanations in sentences, about two core-minutes per 5,000"

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One result per request, each of a captured position."""
        claims = self._claims(requests)
        return [
            Written(sentences_of(request.moment, said, _choice(request)))
            for request, said in zip(requests, claims, strict=True)
        ]

    def _claims(self, requests: Sequence[Request]) -> list[dict[str, str]]:
        """The claims worth making at each position. Prints how many of each, and how often the reader was right."""
        vocabulary, sure = self._context.vocabulary(), self._context.config.writer.sure
        vectors = self._context.activations()[[r.captured for r in requests]].float().numpy()
        rows = np.array([r.row for r in requests], np.int64)
        held_out = np.array([r.held_out for r in requests], bool)
        values = {claim.name: [claim.value(r.moment) for r in requests] for claim in CLAIMS}
        values["before"] = frequent([before(r.moment, vocabulary) for r in requests])
        made: list[dict[str, str]] = [{} for _ in requests]
        for name, known in values.items():
            found = read(vectors, known, rows, held_out)
            said = [
                value is not None and guess != NOTHING and chance >= sure
                for value, guess, chance in zip(known, found.value, found.sure, strict=True)
            ]
            for claim, worth, value in zip(made, said, known, strict=True):
                if worth and value is not None:
                    claim[name] = value
            right = [g == v for g, v, s in zip(found.value, known, said, strict=True) if s]
            share = f", the reader is right on {np.mean(right):.0%} of them" if right else ""
            print(f"claims of {name}: at {sum(said)} of {len(said)} positions{share}", flush=True)
        return made


def _choice(request: Request) -> int:
    """A number that only the position decides."""
    return int.from_bytes(hashlib.sha256(f"{request.row}/{request.position}".encode()).digest()[:4], "big")
