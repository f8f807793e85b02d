"""Contrasts within items: planted effects and interactions are recovered, intervals cover, tests keep their level."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from nla_eval.stats.bootstrap import NO_VARIATION
from nla_eval.stats.contrast import Contrast, item_means, sign_flip, within_items
from nla_eval.stats.interval import Resampling
from nla_eval.stats.zero import upper_bound

HOW = Resampling(resamples=400, seed=7)
DIFFERENCE, INTERACTION, FIRST = (1, -1), (1, -1, -1, 1), (0.5, 0.5, -0.5, -0.5)
differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=10)


def planted(rng: np.random.Generator, rates: tuple[float, ...], items: int, spread: float = 1.0) -> np.ndarray:
    """0/1 outcomes of items that differ among themselves: (items, variants); rates hold on average over items."""
    shift = rng.uniform(-1, 1, (items, 1)) * spread * min(min(r, 1 - r) for r in rates)
    return (rng.random((items, len(rates))) < np.array(rates) + shift).astype(float)


@cache
def contrast_of(rates: tuple[float, ...], weights: tuple[float, ...], items: int, seed: int) -> Contrast:
    return within_items(planted(np.random.default_rng([20_261_122, seed]), rates, items), weights, HOW)


def test_a_planted_interaction_is_told_from_main_effects_alone() -> None:
    crossed = contrast_of((0.8, 0.3, 0.3, 0.2), INTERACTION, 400, 1)
    assert crossed.estimate.low < 0.4 < crossed.estimate.high
    assert crossed.test.p_value < 0.001
    added = contrast_of((0.7, 0.5, 0.4, 0.2), INTERACTION, 400, 2)
    assert added.estimate.low < 0 < added.estimate.high
    assert added.test.p_value > 0.05
    main = contrast_of((0.7, 0.5, 0.4, 0.2), FIRST, 400, 2)
    assert main.estimate.low < 0.3 < main.estimate.high
    assert main.test.p_value < 0.001


@pytest.mark.parametrize(
    ("rates", "weights", "items"),
    [
        ((0.5, 0.3), DIFFERENCE, 43),
        ((0.1, 0.04), DIFFERENCE, 43),
        ((0.6, 0.2, 0.3, 0.2), INTERACTION, 24),
        ((0.3, 0.2, 0.2, 0.2), INTERACTION, 12),
        ((0.6, 0.2, 0.3, 0.2), FIRST, 24),
    ],
)
def test_intervals_cover_what_was_planted(rates, weights, items: int) -> None:
    truth, hits = float(np.dot(rates, weights)), 0
    for seed in range(400):
        found = contrast_of(rates, weights, items, seed).estimate
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 400 <= 0.995


@pytest.mark.parametrize(
    ("rates", "weights", "items"),
    [((0.3, 0.3), DIFFERENCE, 43), ((0.5, 0.4, 0.3, 0.2), INTERACTION, 24), ((0.5, 0.2, 0.5, 0.2), FIRST, 24)],
)
@pytest.mark.parametrize("level", [0.05, 0.2, 0.5])
def test_the_test_rejects_no_more_often_than_its_level_without_an_effect(rates, weights, items, level) -> None:
    tests = [contrast_of(rates, weights, items, seed).test for seed in range(300)]
    rejected = sum(t is not None and t.p_value <= level for t in tests) / 300
    assert level / 3 <= rejected <= level + 2.5 * np.sqrt(level * (1 - level) / 300)


def test_p_values_of_graded_outcomes_are_uniform_without_an_effect() -> None:
    rng = np.random.default_rng(3)
    p = [sign_flip(rng.standard_normal(12), HOW).p_value for _ in range(400)]
    assert np.abs(np.quantile(p, [0.1, 0.3, 0.5, 0.7, 0.9]) - [0.1, 0.3, 0.5, 0.7, 0.9]).max() < 0.07


@given(st.integers(0, 30), st.integers(0, 30))
def test_for_flags_the_test_is_mcnemars_exact_one(more: int, fewer: int) -> None:
    cells = np.array([[1.0, 0.0]] * more + [[0.0, 1.0]] * fewer + [[1.0, 1.0]] * 9)
    found = within_items(cells, DIFFERENCE, HOW)
    assert found.differing == more + fewer
    if more + fewer == 0:
        assert found.test is None
    else:
        assert found.test.exact
        assert found.test.p_value == pytest.approx(binomtest(more, more + fewer).pvalue)


@given(differences)
def test_the_exact_test_counts_every_pattern_of_signs(values: list[float]) -> None:
    patterns = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=len(values))]
    expected = np.mean([pattern >= abs(sum(values)) - 1e-9 for pattern in patterns])
    assert sign_flip(np.array(values), HOW).p_value == pytest.approx(expected)


def test_many_graded_differences_fall_back_to_monte_carlo_with_p_above_zero() -> None:
    values = np.random.default_rng(1).random(60)
    found, again = sign_flip(values, HOW), sign_flip(values, HOW)
    assert (found.exact, found.p_value) == (False, pytest.approx(1 / 401))
    assert found == again


@pytest.mark.parametrize("cells", [1, 99, 1000])
def test_drawing_a_few_sign_patterns_at_a_time_changes_no_p_value(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, how = np.random.default_rng(5).normal(0.1, 1, 33), Resampling(resamples=501, seed=7)
    whole = sign_flip(values, how)
    assert not whole.exact
    monkeypatch.setattr("nla_eval.stats.contrast._CELLS", cells)
    assert sign_flip(values, how) == whole


def test_items_of_several_transcripts_count_once() -> None:
    values, variants = [1.0, 0.0, 1.0, 0.0, None, 0.0], ["a", "a", "b", "b", "a", "other"]
    cells = item_means(values, ["x", "x", "x", "y", "y", "y"], variants, ["a", "b"])
    assert np.array_equal(cells, [[0.5, 1.0], [np.nan, 0.0]], equal_nan=True)
    found = within_items(cells, DIFFERENCE, HOW)
    assert (found.estimate.value, found.estimate.n, found.incomplete) == (-0.5, 1, 1)


def test_a_variant_of_no_weight_may_be_missing() -> None:
    cells = np.array([[1.0, 0.0, np.nan]] * 9)
    assert within_items(cells, (1, -1, 0), HOW).incomplete == 0
    assert within_items(cells, (1, 0, -1), HOW).estimate.withheld == "no item has every variant decided"


def test_where_no_item_differs_there_is_a_bound_and_no_test() -> None:
    found = within_items(np.zeros((24, 4)), INTERACTION, HOW)
    bound = 2 * upper_bound(0, 24)
    assert (found.test, found.differing) == (None, 0)
    assert (found.estimate.low, found.estimate.high) == (pytest.approx(-bound), pytest.approx(bound))


@pytest.mark.parametrize(("items", "reason"), [(7, "7 items; an interval needs at least 8"), (8, NO_VARIATION)])
def test_an_interval_that_would_mislead_is_withheld(items: int, reason: str) -> None:
    found = within_items(np.array([[1.0, 0.0]] * items), DIFFERENCE, HOW).estimate
    assert (found.value, found.low, found.withheld) == (1.0, None, reason)


@pytest.mark.parametrize("weights", [(1, -1, 0), (1, 1)])
def test_weights_that_are_no_contrast_are_refused(weights) -> None:
    with pytest.raises(ValueError, match="summing to zero"):
        within_items(np.zeros((9, 2)), weights, HOW)
