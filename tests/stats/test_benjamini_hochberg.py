"""Benjamini-Hochberg: as in statsmodels, and the false discovery rate holds in planted worlds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from nla_eval.stats.benjamini_hochberg import benjamini_hochberg
from nla_eval.stats.holm import holm


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_it_agrees_with_statsmodels_and_never_exceeds_holm(p_values: list[float]) -> None:
    adjusted = benjamini_hochberg(p_values)
    assert adjusted == pytest.approx(multipletests(p_values, method="fdr_bh")[1].tolist())
    assert all(ours <= strict + 1e-12 for ours, strict in zip(adjusted, holm(p_values), strict=True))


def test_few_discoveries_are_false() -> None:
    rng, shares = np.random.default_rng(1), []
    for _ in range(300):
        p = np.concatenate([rng.random(15), rng.beta(0.1, 6, 5)])
        found = np.array(benjamini_hochberg(p.tolist())) <= 0.1
        shares.append(found[:15].sum() / max(found.sum(), 1))
    assert np.mean(shares) <= 0.1


def test_no_comparison_and_no_p_value() -> None:
    assert benjamini_hochberg([]) == []
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        benjamini_hochberg([1.2])
