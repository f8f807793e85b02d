"""The writer that needs no other model: it fills in the parts of the configured format from the text and the target's
own predictions."""

from __future__ import annotations

from collections.abc import Sequence

from ..explanations.explanation_parts import explain
from .base import WRITERS, Request, WriterContext, Written


@WRITERS.register("self_supervised")
class SelfSupervised:
    """Builds explanations from parts; see `explanation_parts`."""

    def __init__(self, context: WriterContext) -> None:
        self._context = context

    def cost(self, requests: Sequence[Request]) -> str:
        """The number of explanations, and the time they take."""
        return f"{len(requests)} explanations from parts, about a minute per 20,000"

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One result per request. A position at which every part is empty gets no explanation."""
        vocabulary, lines = self._context.vocabulary(), self._context.config.explanation.lines
        texts = [explain(request.moment, vocabulary, lines) for request in requests]
        return [Written(t) if t else Written(None, "no part has anything to say") for t in texts]
