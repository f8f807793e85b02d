"""AR scores: a perfect reconstruction scores 1, the normalised mean scores 0 on fve_meannorm, scale does not matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.models.scores import Baselines, ar_scores, normalised


def vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 24)) + 1.5).astype(np.float32)


def test_a_perfect_reconstruction_scores_one_whatever_its_scale() -> None:
    rows = vectors(50)
    scores = ar_scores(rows * 7.0, rows, Baselines.of(rows))
    np.testing.assert_allclose(scores.fve_nrm, 1.0, atol=1e-6)
    np.testing.assert_allclose(scores.mse_nrm, 0.0, atol=1e-6)


def test_the_normalised_mean_scores_zero_on_meannorm_and_below_zero_on_nrm() -> None:
    rows = vectors(2000)
    mean = np.repeat(normalised(rows).mean(axis=0, keepdims=True), len(rows), axis=0).astype(np.float32)
    scores = ar_scores(mean, rows, Baselines.of(rows))
    assert abs(float(scores.fve_meannorm.mean())) < 1e-4
    assert float(scores.fve_nrm.mean()) < 0


@given(st.integers(0, 1000))
def test_mse_nrm_is_two_times_one_minus_cos(seed: int) -> None:
    ours, theirs = vectors(8, seed), vectors(8, seed + 1)
    scores = ar_scores(ours, theirs, Baselines(0.5))
    direct = ((normalised(ours) - normalised(theirs)) ** 2).sum(axis=1)
    np.testing.assert_allclose(scores.mse_nrm, direct, atol=1e-9)


def test_matched_minus_shuffled_is_own_cos_minus_mean_cos_with_the_others() -> None:
    ours, theirs = vectors(6, 1), vectors(6, 2)
    found = ar_scores(ours, theirs, Baselines(0.5)).matched_minus_shuffled
    cos = normalised(ours) @ normalised(theirs).T
    want = [cos[i, i] - np.delete(cos[i], i).mean() for i in range(6)]
    np.testing.assert_allclose(found, want, atol=1e-9)
