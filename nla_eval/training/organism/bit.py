"""Is the planted bit linearly there, on conversations that no direction was fitted on? In: states with the cue and
without, at the same tokens. Out: AUROCs and the direction. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.covariance import LedoitWolf

from ...stats.auroc import auroc
from .scenes import Scene

Floats = NDArray[np.float32]
FAR = 10
"""A later response token is at least this far into its answer."""


@dataclass(frozen=True)
class Contrast:
    """One scene's states with the cue and without it."""

    scene: Scene
    cue: Floats
    """(T, d)"""
    plain: Floats


class Separation(BaseModel):
    """How well one direction, fitted on other conversations, tells cue from no cue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    later: float
    """AUROC at response tokens of at least `FAR` tokens into the answer."""
    boundary: float
    """AUROC at the template's tokens before an answer."""
    transcript: float
    """AUROC of a conversation's mean over both."""
    conversations: int


def later(scene: Scene) -> NDArray[np.bool_]:
    """(T,) response tokens of at least `FAR` tokens into the answer."""
    run, marks = 0, np.zeros(len(scene.ids), bool)
    for i, inside in enumerate(scene.response.tolist()):
        run = run + 1 if inside else 0
        marks[i] = run > FAR
    return marks


def read_marks(scene: Scene) -> NDArray[np.bool_]:
    """(T,) tokens that a reading may sample: later response tokens and boundaries."""
    return later(scene) | scene.boundary


def mean_shift(contrasts: Sequence[Contrast]) -> Floats:
    """(d,) mean difference cue minus no cue over the tokens that a reading may sample."""
    rows = np.concatenate([(one.cue - one.plain)[read_marks(one.scene)] for one in contrasts])
    mean: Floats = rows.mean(axis=0)
    return mean


def fitted(contrasts: Sequence[Contrast]) -> Floats:
    """(d,) linear discriminant of cue against no cue, within-class covariance shrunk (Ledoit and Wolf 2004)."""
    sides = [
        np.concatenate([getattr(one, side)[read_marks(one.scene)] for one in contrasts]) for side in ("cue", "plain")
    ]
    centred = np.concatenate([side - side.mean(axis=0) for side in sides])
    covariance = LedoitWolf(assume_centered=True).fit(centred).covariance_
    solved: Floats = np.linalg.solve(covariance, sides[0].mean(axis=0) - sides[1].mean(axis=0)).astype(np.float32)
    return solved


def separation(direction: Floats, contrasts: Sequence[Contrast]) -> Separation:
    """AUROCs of `direction` (d,) on conversations that it was not fitted on."""
    found: dict[str, float] = {}
    for kind, marks_of in (("later", later), ("boundary", lambda scene: scene.boundary)):
        cue, plain = (
            np.concatenate([getattr(one, side)[marks_of(one.scene)] @ direction for one in contrasts])
            for side in ("cue", "plain")
        )
        found[kind] = round(auroc(cue.tolist(), plain.tolist()), 3)
    with_cue, without = (
        [float((getattr(one, side)[read_marks(one.scene)] @ direction).mean()) for one in contrasts]
        for side in ("cue", "plain")
    )
    return Separation(**found, transcript=round(auroc(with_cue, without), 3), conversations=len(contrasts))
