"""Can a classifier tell the side of a matched pair from the explanation? One AUROC per reader for told, hint and format
pairs.

In: a pair set captured at its turn boundaries and last token. Out: a `Task`. Whole families are held out, so that every
score is on wordings or subjects that the classifier has not seen."""

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
    """Number of the position within its transcript, from 0. Matched transcripts are compared slot by slot."""


def pair_rows(engine: Engine, tokenizer: Any, pairs: PairSet, min_position: int) -> PairRows:
    """Capture a pair set at the last token of each user message, before each answer, and at the last token.

    Raises:
        NotEnoughError: One side has no position that the pack can verbalize.
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
    """The explanations of n positions: one per position, or several per position joined."""

    texts: Sequence[str]
    """(n,)"""
    vectors: NDArray[np.float32]
    """(n, d_model) the AR's reconstructions; the mean if there are several per position."""


def pair_task(rows: PairRows, greedy: Spoken, draws: Spoken | None = None) -> Task:
    """AUROC of the side, from: explanations, the AR's reconstructions of them, several draws, shuffled explanations, an
    empty text, the context's text, and the activation.

    Explanations are read by word counts, which generalise poorly from few texts to unseen wordings. The AR's vectors
    treat words of similar meaning alike. If neither separates the sides, the explanations do not express them.

    Args:
        rows: n positions.
        greedy: One explanation per position.
        draws: Several draws per position.
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
    """Share of the variance between the two sides, among the directions of a pair set's activations. It limits how much
    an explanation that is rewarded for reconstruction can gain by stating the side.

    Omega squared of an analysis of variance with family and slot as blocks, summed over dimensions (Hays 1963). It is
    near 0 for equal sides, where the plain share would be one over the degrees of freedom.
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
