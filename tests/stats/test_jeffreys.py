"""Jeffreys' interval: that of statsmodels, with closed ends at 0 and n."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from nla_eval.stats.jeffreys import jeffreys


@given(st.integers(2, 400).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_it_is_that_of_statsmodels(count: tuple[int, int]) -> None:
    estimate = jeffreys(*count)
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(*count, method="jeffreys"))


def test_nothing_and_everything_close_the_interval_on_their_side() -> None:
    none, every = jeffreys(0, 20), jeffreys(20, 20)
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(1 - every.low)
    assert 0 < none.high < 0.15


def test_no_transcript_gives_a_reason_and_impossible_counts_are_refused() -> None:
    assert jeffreys(0, 0).withheld == "no determinate transcript"
    with pytest.raises(ValueError, match="successes"):
        jeffreys(3, 2)
