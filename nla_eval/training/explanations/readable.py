"""Where an activation holds a claim. A linear reader is fitted on other conversations; a claim is worth making at the
positions where the reader is surest, as many of them as keep it right often enough. What is then said there is the
truth, not the reader's guess.

So a lesson holds what the AV can know, and nothing where it cannot. An AV taught every claim at every position learns
to guess: of an earlier pack's claims about context 1 to 24 in 100 were true."""

from __future__ import annotations

from collections import Counter
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
"""Inverse L2 penalty on whitened components. Of 0.003, 0.02 and 0.1 the middle one (docs/log.md)."""
_FEWEST = 25
"""A value is learnt only if it occurs at least this often in training; no claim is made in fewer training rows."""
OTHER = "other"
"""Stands for a value too rare to learn."""


@dataclass(frozen=True)
class Rows:
    """The positions that claims are made of."""

    activations: NDArray[np.float32]
    """(N, d_model) raw."""
    conversation: NDArray[np.int64]
    """(N,) number of each row's conversation."""
    held_out: NDArray[np.bool_]
    """(N,) rows that no reader is fitted on."""


def worth_making(rows: Rows, values: Sequence[str | None], right: float) -> NDArray[np.bool_]:
    """(N,) where the claim is worth making.

    Args:
        rows: The positions.
        values: (N,) the truth; None where the text decides nothing: no claim is made there, and no reader fitted.
        right: The cross-fitted reader is right on this share of the training rows where the claim is made.
    """
    guess, sure = read(rows, values)
    able = np.array([v is not None and g != OTHER for v, g in zip(values, guess, strict=True)])
    train = np.flatnonzero(able & ~rows.held_out)
    surest = train[np.argsort(-sure[train], kind="stable")]
    hits = np.array([guess[i] == values[i] for i in surest], float)
    enough = np.flatnonzero(np.cumsum(hits) >= right * np.arange(1, len(hits) + 1))
    if not len(enough) or enough[-1] + 1 < _FEWEST:
        return np.zeros(len(able), bool)
    least = float(sure[surest[enough[-1]]])
    made: NDArray[np.bool_] = np.logical_and(able, sure >= least)
    return made


def read(rows: Rows, values: Sequence[str | None]) -> tuple[list[str], NDArray[np.float64]]:
    """Guess `values` from activations of other conversations.

    Returns:
        (N,) best guess of each row, and (N,) its probability. Training rows are cross-fitted by conversation; held-out
        rows are read by the reader of all training rows. Rows whose value is None are `OTHER` with probability 0, and
        so are all rows where there are fewer than two learnable values or `FOLDS` conversations.
    """
    decided = np.array([value is not None for value in values])
    train = np.flatnonzero(decided & ~rows.held_out)
    counts = Counter(values[i] for i in train.tolist())
    labels = np.array([v if v is not None and counts[v] >= _FEWEST else OTHER for v in values], dtype=object)
    guess, sure = np.full(len(labels), OTHER, dtype=object), np.zeros(len(labels))
    if len(set(labels[train])) < 2 or len(np.unique(rows.conversation[train])) < FOLDS:
        return guess.tolist(), sure
    splits = GroupKFold(FOLDS).split(train, groups=rows.conversation[train])
    parts = [(train[a], train[b]) for a, b in splits] + [(train, np.flatnonzero(decided & rows.held_out))]
    for fitted, asked in parts:
        if not len(asked) or len(set(labels[fitted])) < 2:
            continue
        reader = _reader(len(fitted), rows.activations.shape[1]).fit(rows.activations[fitted], labels[fitted])
        chances = reader.predict_proba(rows.activations[asked])
        guess[asked], sure[asked] = reader.classes_[chances.argmax(axis=1)], chances.max(axis=1)
    return guess.tolist(), sure


def _reader(rows: int, width: int) -> Pipeline:
    kept = min(_COMPONENTS, width, rows)
    return make_pipeline(
        StandardScaler(), PCA(kept, whiten=True, random_state=0), LogisticRegression(C=_STRENGTH, max_iter=300)
    )
