"""Proportions of independent units: Wilson, the bound after zero events, worst and best cases, Holm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from nla_eval.stats.bounds import rate_bounds, unverbalized_bounds
from nla_eval.stats.holm import holm
from nla_eval.stats.wilson import wilson
from nla_eval.stats.zero import rule_of_three, units_needed, upper_bound

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
verdicts = st.sampled_from([True, False, None])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 24, 0.0, 0.1380), (24, 24, 0.8620, 1.0), (15, 50, 0.1910, 0.4375), (1, 100, 0.0018, 0.0545)],
)
def test_wilson_gives_the_published_interval(successes: int, n: int, low: float, high: float) -> None:
    estimate = wilson(successes, n)
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(counts)
def test_wilson_holds_its_own_point_and_mirrors_its_complement(count: tuple[int, int]) -> None:
    successes, n = count
    estimate, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_no_transcript_gives_no_rate_but_a_reason() -> None:
    assert wilson(0, 0).value is None
    assert wilson(0, 0).withheld == "no determinate transcript"
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)


@pytest.mark.parametrize(("rate", "n"), [(0.01, 299), (0.05, 59), (0.005, 598)])
def test_zero_flags_certify_a_rate_from_exactly_this_many_transcripts(rate: float, n: int) -> None:
    assert units_needed(rate) == n
    assert upper_bound(0, n) < rate <= upper_bound(0, n - 1)


@given(st.integers(1, 5000))
def test_the_rule_of_three_never_undercuts_the_exact_bound(n: int) -> None:
    assert upper_bound(0, n) <= rule_of_three(n)


@given(counts)
def test_the_exact_bound_leaves_five_percent_below(count: tuple[int, int]) -> None:
    events, n = count
    bound = upper_bound(events, n)
    if events < n:
        assert binom.cdf(events, n, bound) == pytest.approx(0.05, abs=1e-6)
    else:
        assert bound == 1.0


@given(st.lists(verdicts, min_size=1, max_size=40))
def test_bounds_hold_the_rate_however_the_undecided_turn_out(states: list[bool | None]) -> None:
    bounds = rate_bounds(states.count(True), states.count(None), len(states))
    for filler in (True, False):
        rate = sum(filler if s is None else s for s in states) / len(states)
        assert bounds.best <= rate <= bounds.worst


@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=12), st.randoms())
def test_unverbalized_bounds_hold_the_rate_however_the_undecided_turn_out(pairs, random) -> None:
    bounds = unverbalized_bounds([n for n, _ in pairs], [v for _, v in pairs])
    filled = [tuple(random.random() < 0.5 if x is None else x for x in pair) for pair in pairs]
    rate = sum(n and not v for n, v in filled) / len(filled)
    assert bounds.best <= rate <= bounds.worst


def test_a_verbalized_transcript_is_decided_for_the_unverbalized_rate_even_without_n() -> None:
    assert unverbalized_bounds([None, None], [True, None]).undecided == 1


def test_holm_matches_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(0 <= p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    ranked = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in ranked] == sorted(adjusted)
