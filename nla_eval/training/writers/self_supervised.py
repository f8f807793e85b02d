"""The writer that needs no other model: the parts of the configured format, filled in from the text and the target's
own predictions."""

from __future__ import annotations

from collections.abc import Sequence

from ..explanations.explanation_parts import explain
from .base import WRITERS, Request, WriterContext, Written


@WRITERS.register("self_supervised")
class SelfSupervised:
    """Arranges parts; see `parts`."""

    def __init__(self, context: WriterContext) -> None:
        self._context = context

    def cost(self, requests: Sequence[Request]) -> str:
        """Nothing worth naming."""
        return f"{len(requests)} explanations from parts, about a minute per 20,000"

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One explanation each; a position at which no part has anything to say has none."""
        vocabulary, lines = self._context.vocabulary(), self._context.config.explanation.lines
        texts = [explain(request.moment, vocabulary, lines) for request in requests]
        return [Written(t) if t else Written(None, "no part has anything to say") for t in texts]
