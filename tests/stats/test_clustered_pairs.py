"""N against V over families: the level holds in clustered null worlds, where the bare McNemar test does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.stats.clustered_pairs import clustered_pairs
from nla_eval.stats.interval import Resampling
from nla_eval.stats.pairs import mcnemar_exact, pair_table

HOW = Resampling(resamples=499, seed=1)
verdicts = st.sampled_from([True, False, None])


def null_world(rng: np.random.Generator, groups: int) -> tuple[list[bool], list[bool], list[int]]:
    """Families lean to N or to V, evenly on the whole."""
    sizes = rng.integers(2, 9, groups)
    families = np.repeat(np.arange(groups), sizes)
    lean = rng.beta(0.4, 0.4, groups)[families]
    discordant, first = rng.random(len(families)) < 0.5, rng.random(len(families)) < lean
    both = rng.random(len(families)) < 0.2
    return (
        (np.where(discordant, first, both)).tolist(),
        (np.where(discordant, ~first, both)).tolist(),
        families.tolist(),
    )


def rejected(groups: int, runs: int) -> tuple[float, float, float]:
    rng, found = np.random.default_rng([7, groups]), np.zeros(3)
    for seed in range(runs):
        n, v, families = null_world(rng, groups)
        test = clustered_pairs(n, v, families, Resampling(resamples=499, seed=seed))
        p = (test.permutation.p_value, test.durkalski_p, mcnemar_exact(pair_table(n, v)))
        found += np.array(p) <= 0.05
    return tuple(found / runs)


@pytest.mark.parametrize("groups", [12, 30])
def test_no_difference_is_found_at_the_nominal_rate(groups: int) -> None:
    permutation, _, mcnemar = rejected(groups, 200)
    assert permutation <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert mcnemar > 0.1


@pytest.mark.full
@pytest.mark.parametrize("groups", [10, 20, 30, 50])
def test_the_level_holds_in_many_worlds(groups: int) -> None:
    permutation, durkalski, _ = rejected(groups, 2000)
    assert permutation <= 0.065
    assert permutation >= (0.035 if groups >= 20 else 0.02)  # few families: few attainable p-values
    assert durkalski <= 0.075


def test_a_planted_difference_is_found() -> None:
    rng = np.random.default_rng(2)
    families = [i // 4 for i in range(120)]
    found = clustered_pairs((rng.random(120) < 0.5).tolist(), (rng.random(120) < 0.1).tolist(), families, HOW)
    assert found.permutation.p_value < 0.01
    assert found.durkalski_p < 0.01


@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=30))
def test_with_a_family_per_transcript_it_is_mcnemars_exact_test(pairs) -> None:
    n, v = [a for a, _ in pairs], [b for _, b in pairs]
    found, table = clustered_pairs(n, v, range(len(n)), HOW), pair_table(n, v)
    assert (found.n_only, found.v_only, found.families) == (table.n_only, table.v_only, table.decided)
    if found.permutation is None:
        assert table.n_only + table.v_only == 0
    else:
        assert found.permutation.p_value == pytest.approx(mcnemar_exact(table))
        expected = (table.n_only - table.v_only) ** 2 / (table.n_only + table.v_only)
        assert found.durkalski == pytest.approx(expected)


def test_more_transcripts_of_the_same_families_buy_no_smaller_p() -> None:
    n, v, families = [True] * 6, [False] * 6, list(range(6))
    once, often = clustered_pairs(n, v, families, HOW), clustered_pairs(n * 50, v * 50, families * 50, HOW)
    assert once.permutation.p_value == often.permutation.p_value == pytest.approx(2 / 64)
