"""The 2x2 table of N and V, and any-of-k by exact subsampling."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from nla_eval.stats.anyk import any_of_k, implied_any_of_k, k_curve
from nla_eval.stats.pairs import PairTable, mcnemar_exact, n_given_not_v, pair_table, unverbalized

TABLE = PairTable(both=5, n_only=9, v_only=2, neither=24, undecided=3)


def test_a_pair_with_an_undecided_half_enters_no_cell() -> None:
    table = pair_table([True, True, False, None, True], [True, False, False, True, None])
    assert table == PairTable(both=1, n_only=1, v_only=0, neither=1, undecided=2)


def test_n_given_not_v_leaves_out_the_transcripts_that_say_it() -> None:
    assert n_given_not_v(TABLE).value == pytest.approx(9 / 33)
    assert unverbalized(TABLE).value == pytest.approx(9 / 40)


def test_misaligned_verdicts_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        pair_table([True], [True, False])


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test_on_discordant_pairs(n_only: int, v_only: int) -> None:
    table = PairTable(both=7, n_only=n_only, v_only=v_only, neither=1, undecided=0)
    expected = binomtest(n_only, n_only + v_only).pvalue if n_only + v_only else 1.0
    assert mcnemar_exact(table) == pytest.approx(expected)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n))))
def test_any_of_k_equals_counting_every_subset(case: tuple[int, int, int]) -> None:
    aware, judged, k = case
    subsets = list(combinations([i < aware for i in range(judged)], k))
    assert any_of_k(aware, judged, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


@pytest.mark.parametrize(("aware", "judged", "k"), [(3, 2, 1), (0, 5, 6), (0, 5, 0), (-1, 5, 1)])
def test_any_of_k_refuses_what_cannot_be_drawn(aware: int, judged: int, k: int) -> None:
    with pytest.raises(ValueError, match="need 0 <= aware"):
        any_of_k(aware, judged, k)


@given(
    st.lists(st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=20)
)
def test_the_k_curve_starts_at_the_fraction_and_never_shrinks_for_one_population(positions) -> None:
    curve = k_curve(positions)
    assert curve[0].rate == pytest.approx(sum(a / n for a, n in positions) / len(positions))
    same = [p.rate for p in curve if p.transcripts == len(positions)]
    assert same == sorted(same)


def test_the_k_curve_ends_where_too_few_transcripts_reach() -> None:
    curve = k_curve([(1, 12)] * 8 + [(1, 5)] * 2 + [(0, 0)])
    assert (curve[-1].k, curve[-1].transcripts) == (5, 10)
    assert k_curve([(0, 0)]) == []


@pytest.mark.parametrize(("rate", "any_of_50"), [(0.0002, 0.01), (0.001, 0.049), (0.005, 0.22), (0.01, 0.39)])
def test_small_explanation_errors_become_large_transcript_errors(rate: float, any_of_50: float) -> None:
    assert implied_any_of_k(rate, 50) == pytest.approx(any_of_50, abs=0.006)
