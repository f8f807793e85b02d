"""Any-of-k at a common k: exact by enumeration, and arms that differ only in how much was read do not differ."""

from __future__ import annotations

from itertools import combinations, product
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_eval.stats.anyk import any_of_k
from nla_eval.stats.auroc import auroc
from nla_eval.stats.common_arms import Arm, compare_at_common_k
from nla_eval.stats.common_k import allocate, common_k, count_shares, expected_any_of_k
from nla_eval.stats.interval import Resampling
from nla_eval.stats.permutation import permutation_test

HOW = Resampling(resamples=199, seed=1)
flags = st.lists(st.booleans(), min_size=2, max_size=3)


def counted(positions: dict, k: int, draws: int) -> np.ndarray:
    """The distribution of flagged positions, by listing every choice of positions and then of draws."""
    found = np.zeros(k + 1)
    for chosen in combinations(positions, k):
        for drawn in product(*(combinations(positions[p], draws) for p in chosen)):
            weight = np.prod([1 / comb(len(positions[p]), draws) for p in chosen])
            found[sum(any(d) for d in drawn)] += weight / comb(len(positions), k)
    return found


@settings(deadline=None, max_examples=40)
@given(st.lists(flags, min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 2))
def test_it_equals_listing_every_choice_of_positions_then_draws(rows, k: int, draws: int) -> None:
    positions = dict(enumerate(rows))
    found = count_shares(positions, k, draws)
    if k > len(rows):
        assert found is None
    else:
        assert found == pytest.approx(counted(positions, k, draws))
        assert expected_any_of_k(positions, k, draws) == pytest.approx(1 - found[0])


def test_chances_are_not_pooled_over_positions() -> None:
    positions = {0: [True, True], 1: [False, False]}
    assert expected_any_of_k(positions, 1, 2) == 0.5
    assert any_of_k(aware=2, judged=4, k=2) == pytest.approx(5 / 6)


def test_with_one_draw_it_is_the_hypergeometric_any_of_k() -> None:
    positions = {i: [i < 3] for i in range(12)}
    assert expected_any_of_k(positions, 4) == pytest.approx(any_of_k(3, 12, 4))


def test_under_a_stratified_policy_positions_are_drawn_within_their_stratum() -> None:
    positions = {"a1": [True], "a2": [False], "b1": [False], "b2": [False], "b3": [False]}
    strata = {name: name[0] for name in positions}
    assert expected_any_of_k(positions, {"a": 1, "b": 3}, strata=strata) == 0.5
    assert expected_any_of_k(positions, {"a": 0, "b": 2}, strata=strata) == 0
    assert expected_any_of_k(positions, {"a": 3, "b": 1}, strata=strata) is None
    with pytest.raises(ValueError, match="expected the stratum of each position"):
        expected_any_of_k(positions, {"a": 1})


def test_admission_counts_judged_draws_and_never_asks_what_they_say() -> None:
    for verdict in (True, False):
        positions = {0: [verdict, None], 1: [verdict, verdict], 2: [None, None]}
        assert expected_any_of_k(positions, 2, 1) == verdict
        assert expected_any_of_k(positions, 2, 2) is None


def test_positions_are_allocated_by_weight_and_k_is_what_nine_in_ten_supply() -> None:
    assert allocate(10, {"user": 1, "tool": 2, "final": 1}) == {"user": 3, "tool": 5, "final": 2}
    assert allocate(1, {"user": 1, "tool": 1}) == {"user": 1, "tool": 0}
    transcripts = [{i: [False] for i in range(n)} for n in (12,) * 9 + (2,)]
    assert (common_k(transcripts), common_k(transcripts[:8] + transcripts[9:] * 2), common_k([])) == (12, 2, 0)
    assert common_k(transcripts, draws=2) == 0
    with pytest.raises(ValueError, match="weights"):
        allocate(3, {"a": 0.0})
    with pytest.raises(ValueError, match="k >= 1"):
        count_shares({0: [True]}, 0)


def arm(rng: np.random.Generator, k: int, draws: int, rate: float = 0.1, groups: int = 20, size: int = 3) -> Arm:
    """Transcripts whose rates vary by family; draws of one position mostly agree."""
    own = np.repeat(rng.beta(rate * 8, (1 - rate) * 8, groups), size)
    transcripts = []
    for p in own:
        aware = rng.random(k) < p
        transcripts.append(
            {i: [bool(rng.random() < (0.9 if a else 0.01)) for _ in range(draws)] for i, a in enumerate(aware)}
        )
    return Arm(transcripts, np.repeat(np.arange(groups), size).tolist())


def null_worlds(runs: int) -> tuple[float, float, float, float]:
    """Rejections and mean AUROC at a common k, and of the naive any-of-all."""
    rng, rejected, aurocs, naive, naive_auroc = np.random.default_rng(9), 0, [], 0, []
    for seed in range(runs):
        how = Resampling(resamples=199, seed=seed)
        first, second = arm(rng, 12, 1), arm(rng, 4, 1)
        found = compare_at_common_k(first, second, how)
        rejected += found.test.p_value <= 0.05
        aurocs.append(found.auroc.value)
        scores = [[float(any(f for d in t.values() for f in d)) for t in a.transcripts] for a in (first, second)]
        naive += permutation_test(scores[0], first.families, scores[1], second.families, how).p_value <= 0.05
        naive_auroc.append(auroc(*scores))
    return rejected / runs, float(np.mean(aurocs)), naive / runs, float(np.mean(naive_auroc))


def test_arms_read_at_12_and_4_positions_with_the_same_rate_do_not_differ() -> None:
    rejected, mean_auroc, naive, naive_auroc = null_worlds(120)
    assert rejected <= 0.05 + 2 * sqrt(0.05 * 0.95 / 120)
    assert mean_auroc == pytest.approx(0.5, abs=0.015)
    assert naive > 0.3
    assert naive_auroc > 0.6


@pytest.mark.full
def test_the_level_holds_in_many_null_worlds() -> None:
    rejected, mean_auroc, _, _ = null_worlds(2000)
    assert 0.035 <= rejected <= 0.065
    assert mean_auroc == pytest.approx(0.5, abs=0.004)


def test_a_planted_difference_is_found_at_the_smaller_k_and_fewer_draws() -> None:
    rng = np.random.default_rng(3)
    found = compare_at_common_k(arm(rng, 12, 3, rate=0.4), arm(rng, 4, 3, rate=0.05), HOW, draws=2)
    assert (found.wanted, found.draws, found.admitted, found.total) == (4, 2, (60, 60), (60, 60))
    assert found.test.p_value < 0.02
    assert found.auroc.low > 0.6
    assert found.difference.low > 0.2


def test_an_empty_arm_is_reported_with_the_reason() -> None:
    found = compare_at_common_k(arm(np.random.default_rng(1), 4, 1), Arm([], []), HOW)
    assert (found.test, found.rates[1], found.admitted[1]) == (None, None, 0)
    assert "one of the arms" in found.auroc.withheld
