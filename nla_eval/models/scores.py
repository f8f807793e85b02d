"""AR scores, how well a reconstruction matches its activation: cos, mse_nrm, fve_nrm, fve_meannorm,
matched-minus-shuffled.

Both vectors are L2-normalised first, so mse_nrm = 2 (1 - cos), as in the public NLA client. Numpy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Baselines:
    """Denominators of the two FVE figures. Both are functions of the mean of the L2-normalised training activations."""

    variance: float
    """E |u - mean(u)|^2 = 1 - |mean(u)|^2, the published denominator. With it the best constant prediction scores below
    zero, because predictions are normalised too."""

    @property
    def meannorm(self) -> float:
        """Mean mse_nrm of the normalised mean, 2 (1 - |mean(u)|). With it the best constant prediction scores zero."""
        return 2.0 * (1.0 - float(np.sqrt(max(0.0, 1.0 - self.variance))))

    @classmethod
    def of(cls, activations: Rows) -> Baselines:
        """Compute the baselines of (n, d_model) raw activations."""
        mean = normalised(activations).mean(axis=0)
        return cls(float(1.0 - mean @ mean))


@dataclass(frozen=True)
class ARScores:
    """Per-row scores, each (n,) float64."""

    cos: NDArray[np.float64]
    mse_nrm: NDArray[np.float64]
    fve_nrm: NDArray[np.float64]
    fve_meannorm: NDArray[np.float64]
    matched_minus_shuffled: NDArray[np.float64]
    """cos with the row's own activation minus the mean cos with the other rows' activations; NaN for a single row."""


def normalised(rows: Rows) -> NDArray[np.float64]:
    """Each row divided by its L2 norm, in float64."""
    wide = np.asarray(rows, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12))


def ar_scores(reconstructed: Rows, activations: Rows, baselines: Baselines) -> ARScores:
    """Score (n, d_model) reconstructions against the (n, d_model) activations they should match."""
    predicted, actual = normalised(reconstructed), normalised(activations)
    cos = np.einsum("nd,nd->n", predicted, actual)
    mse = 2.0 * (1.0 - cos)
    n = len(cos)
    others = (predicted @ actual.sum(axis=0) - cos) / (n - 1) if n > 1 else np.full(n, np.nan)
    return ARScores(cos, mse, 1.0 - mse / baselines.variance, 1.0 - mse / baselines.meannorm, cos - others)


Vectors = NDArray[np.float32]


Scorer = Callable[[Vectors, Vectors], ARScores]
"""Function from (reconstructed (n, d), activations (n, d)) to scores against the pack's baselines."""
