"""Can the side of a matched pair be told from the explanation? One AUROC per reader for told, hint and format pairs.

In: a pair set read at its turn boundaries and last token. Out: a `Task`, with whole families held out, so that every
score is on wordings or subjects the classifier has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Engine
from ..models.scores import normalised
from .figures import Ints, auc
from .held_out_source import read_at
from .pair_sets import PairSet
from .readers import scores_of_texts, scores_of_vectors
from .tasks import NotEnoughError, Read, Task

POLICIES = ("boundaries", "last")


@dataclass(frozen=True)
class PairRows:
    """A pair set's positions, row by row."""

    name: str
    activations: NDArray[np.float32]
    """(n, d_model)"""
    contexts: list[str]
    positive: NDArray[np.bool_]
    family: Ints
    slot: Ints
    """Which of its transcript's positions each is, from 0: where matched transcripts are compared."""


def pair_rows(engine: Engine, tokenizer: Any, pairs: PairSet, min_position: int) -> PairRows:
    """Capture a pair set at each user message's last token, before each answer, and at the last token.

    Raises:
        NotEnoughError: One of the sides has no position that the pack can read.
    """
    families = {name: i for i, name in enumerate(dict.fromkeys(t.family for t in pairs.transcripts))}
    vectors, contexts, positive, family = [], [], [], []
    slot: list[int] = []
    for index, made, at, rows in sorted(
        read_at(engine, tokenizer, pairs.transcripts, POLICIES, min_position), key=lambda found: found[0]
    ):
        vectors.append(rows)
        contexts += [made.text[: int(made.char_end[p])] for p in at.tolist()]
        positive += [pairs.positive[index]] * len(at)
        family += [families[pairs.transcripts[index].family]] * len(at)
        slot += range(len(at))
    if len(set(positive)) < 2 or len(set(family)) < 2:
        raise NotEnoughError(f"its prompts end before token {min_position}, the first that the pack reads")
    return PairRows(
        pairs.name, np.concatenate(vectors), contexts, np.array(positive), np.array(family, np.int64), np.array(slot)
    )


@dataclass(frozen=True)
class Spoken:
    """What was said of n positions, in one explanation or in several of each read together."""

    texts: Sequence[str]
    """(n,)"""
    vectors: NDArray[np.float32]
    """(n, d_model) what the AR makes of them, the mean of several."""


def pair_task(rows: PairRows, greedy: Spoken, draws: Spoken | None = None) -> Task:
    """AUROC of the side from explanations, from what the AR makes of them, from several draws, from shuffled ones,
    nothing, the context's text, and the activation.

    Words are counted in the explanations, which few texts in wordings never seen do not favour; the AR's vectors take
    words of like meaning for alike. Where neither tells the sides apart, the explanations do not say them.

    Args:
        rows: n positions.
        greedy: One explanation of each.
        draws: Several draws of each.
    """
    order = np.random.default_rng(0).permutation(len(greedy.texts))
    texts = Read(greedy.texts, order, rows.contexts).by_reader()
    vectors = {"reconstruction": greedy.vectors, "probe": rows.activations}
    if draws is not None:
        texts["draws"], vectors["draws_reconstruction"] = list(draws.texts), draws.vectors
    scores = {name: scores_of_texts(given, rows.positive, rows.family) for name, given in texts.items()}
    scores |= {name: scores_of_vectors(given, rows.positive, rows.family) for name, given in vectors.items()}
    return Task(
        name=rows.name, metric="AUROC", chance=0.5,
        readers={name: auc(found, rows.positive, rows.family) for name, found in scores.items()},
        note=f"{len(np.unique(rows.family))} families; the side makes {100 * between_sides(rows):.1f} % of the "
        "activations' variance",
    )  # fmt: skip


def between_sides(rows: PairRows) -> float:
    """Share of the variance of the directions of a pair set's activations that lies between its two sides: what an
    explanation that is paid for reconstruction can earn by saying the side.

    Omega squared of an analysis of variance with family and slot as blocks, summed over dimensions (Hays 1963): near 0
    for sides that do not differ, where the plain share would be one over the degrees of freedom.
    """
    unit = normalised(rows.activations)
    total = float(((unit - unit.mean(axis=0)) ** 2).sum())
    side = rows.positive.astype(float)
    blocks = set(zip(rows.family.tolist(), rows.slot.tolist(), strict=True))
    for family, slot in blocks:
        here = (rows.family == family) & (rows.slot == slot)
        unit[here] -= unit[here].mean(axis=0)
        side[here] -= side[here].mean()
    between = float(((side @ unit) ** 2).sum() / (side @ side))
    left = (float((unit**2).sum()) - between) / (len(unit) - len(blocks) - 1)
    return max(0.0, (between - left) / (total + left))
