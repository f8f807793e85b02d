"""Where an activation holds a claim. A linear reader is fitted on other conversations; a claim is worth making at the
positions where the reader is sure, right or wrong. What is then said is the truth, not the reader's guess.

So a lesson holds what the AV can know, and nothing where it cannot. An AV taught every claim at every position learns
to guess: of the claims of an earlier pack about context 1 to 24 in 100 were true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
_COMPONENTS = 128
_STRENGTH = 0.02
"""Inverse L2 penalty on unit-variance components. Chosen by log loss on the shipped run's rows (docs/log.md)."""
_FEWEST = 25
"""A value is learnt only if it occurs at least this often in training."""
NOTHING = "nothing"
"""The class of rows for which the text gives no value, or one too rare to learn."""


@dataclass(frozen=True)
class Read:
    """What a reader says of each row."""

    value: list[str]
    """(n,) its best guess; `NOTHING` is one."""
    sure: NDArray[np.float64]
    """(n,) its probability of that guess."""


def read(
    activations: NDArray[np.float32], values: Sequence[str | None], conversation: NDArray[np.int64],
    held_out: NDArray[np.bool_],
) -> Read:  # fmt: skip
    """Guess `values` from activations of other conversations.

    Args:
        activations: (N, d_model) raw.
        values: (N,) what the text says; None where it says nothing.
        conversation: (N,) number of each row's conversation.
        held_out: (N,) rows that no reader is fitted on.

    Returns:
        Cross-fitted by conversation for training rows; for held-out rows the reader of all training rows. With fewer
        than two learnable values or `FOLDS` conversations every row is `NOTHING`, with probability 1.
    """
    named = [value if value is not None else NOTHING for value in values]
    train = np.flatnonzero(~held_out)
    counts: dict[str, int] = {}
    for row in train:
        counts[named[row]] = counts.get(named[row], 0) + 1
    labels = np.array([name if counts.get(name, 0) >= _FEWEST else NOTHING for name in named])
    value, sure = np.full(len(labels), NOTHING, dtype=object), np.ones(len(labels))
    if len(np.unique(labels[train])) < 2 or len(np.unique(conversation[train])) < FOLDS:
        return Read(value.tolist(), sure)
    splits = [(train[a], train[b]) for a, b in GroupKFold(FOLDS).split(train, groups=conversation[train])]
    for fitted, guessed in [*splits, (train, np.flatnonzero(held_out))]:
        if not len(guessed):
            continue
        if len(np.unique(labels[fitted])) < 2:
            continue
        reader = _reader(len(fitted), activations.shape[1]).fit(activations[fitted], labels[fitted])
        chances = reader.predict_proba(activations[guessed])
        best = chances.argmax(axis=1)
        value[guessed], sure[guessed] = reader.classes_[best], chances[np.arange(len(guessed)), best]
    return Read(value.tolist(), sure)


def _reader(rows: int, width: int) -> Pipeline:
    kept = min(_COMPONENTS, width, rows)
    return make_pipeline(
        StandardScaler(), PCA(kept, whiten=True, random_state=0), LogisticRegression(C=_STRENGTH, max_iter=300)
    )
