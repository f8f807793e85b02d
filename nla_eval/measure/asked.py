"""What lane `asked` is worth: the target's own answers after told and untold transcripts, beside readers of the text.

In: pairs of transcripts that differ in one notice, and a model that answers. Out: AUROC over transcripts, with interval
by notice. Nothing is fitted to the answers; the readers of the text are fitted and held out by notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines.questions import Answered, AskRequest
from ..errors import InputError
from ..pipeline.asked import asked_score, questions_of
from ..replay.replay import ReplayConfig, replay
from ..stats.auroc import auroc_shared_clusters
from ..stats.interval import Estimate, Resampling
from . import readers
from .told import ToldPair


@dataclass(frozen=True)
class AskedFigures:
    """The target's answers on told pairs."""

    transcripts: int
    readers: dict[str, Estimate]
    """AUROC of told over untold transcripts, by reader: `asked`, `words`, `characters`."""
    told: float
    """Mean score of told transcripts."""
    untold: float
    mass: float
    """Mean probability that the answer begins with a yes or a no."""
    unasked: int
    """Transcripts that could not be asked; their pairs are left out."""


def asked_figures(
    pairs: Sequence[ToldPair],
    tokenizer: Any,
    max_context: int,
    answer: Callable[[Sequence[AskRequest]], list[Answered]],
) -> AskedFigures:
    """Ask after both sides of every pair.

    Args:
        pairs: Transcripts that differ in one notice.
        tokenizer: The target's.
        max_context: Context length of the target.
        answer: The target with its head.

    Raises:
        InputError: No pair could be asked.
    """
    scores, mass, told, texts, families = [], [], [], [], []
    unasked = 0
    names: dict[str, int] = {}
    for pair in pairs:
        sides = [replay(t, tokenizer, ReplayConfig(max_context)) for t in (pair.told, pair.untold)]
        asked = [
            questions_of(t, len(made), tokenizer, max_context)
            for t, made in zip((pair.told, pair.untold), sides, strict=True)
        ]
        requests = [questions.request for questions in asked if questions.request is not None]
        if len(requests) < len(asked):
            unasked += len(asked) - len(requests)
            continue
        for side, made, questions, answered in zip((True, False), sides, asked, answer(requests), strict=True):
            row = asked_score(made.transcript_digest, questions, answered)
            scores.append(float(row.score or 0.0))
            mass.append(float(row.mass or 0.0))
            told.append(side)
            texts.append(made.text)
            families.append(names.setdefault(pair.told.family, len(names)))
    if not scores:
        why = asked[0].error if pairs else "there is none"
        raise InputError(f"none of {len(pairs)} pairs could be asked: {why}; give pairs that leave room for a question")
    positive, groups = np.array(told), np.array(families, np.int64)
    found = {
        "asked": np.array(scores),
        "words": readers.scores_of_texts(texts, positive, groups),
        "characters": readers.scores_of_characters(texts, positive, groups),
    }
    return AskedFigures(
        transcripts=len(scores),
        readers={
            name: auroc_shared_clusters(values.tolist(), told, families, Resampling()) for name, values in found.items()
        },
        told=float(np.mean(found["asked"][positive])),
        untold=float(np.mean(found["asked"][~positive])),
        mass=float(np.mean(mass)),
        unasked=unasked,
    )
