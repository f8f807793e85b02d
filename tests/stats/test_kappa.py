"""Agreement of judges: values of statsmodels and of Gwet's definition, with intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as theirs

from nla_eval.stats.interval import Resampling
from nla_eval.stats.kappa import cohens_kappa, gwets_ac1

HOW = Resampling(resamples=200, seed=1)
labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


def table(rows: list[tuple[int, int]]) -> np.ndarray:
    out = np.zeros((3, 3))
    for a, b in rows:
        out[a, b] += 1
    return out


@given(labels)
def test_kappa_is_that_of_statsmodels(rows: list[tuple[int, int]]) -> None:
    found = cohens_kappa([a for a, _ in rows], [b for _, b in rows], [0] * len(rows), HOW)
    if len({label for row in rows for label in row}) == 1:
        assert (found.value, found.withheld) == (None, "the statistic is undefined on these transcripts")
    else:
        assert found.value == pytest.approx(theirs(table(rows), return_results=False))


def test_ac1_stays_high_where_one_verdict_is_rare_and_kappa_does_not() -> None:
    first, second = [1] * 5 + [0] * 95, [0] * 5 + [1] * 0 + [0] * 90 + [1] * 5
    ac1, kappa = (f(first, second, range(100), HOW).value for f in (gwets_ac1, cohens_kappa))
    q = 0.05
    assert ac1 == pytest.approx((0.9 - 2 * q * (1 - q)) / (1 - 2 * q * (1 - q)))
    assert ac1 > 0.88
    assert kappa < 0


def test_the_interval_of_single_texts_is_near_the_analytic_one_and_families_widen_it() -> None:
    rng = np.random.default_rng(2)
    first = rng.random(400) < 0.4
    second = np.where(rng.random(400) < 0.85, first, ~first)
    analytic = theirs(
        np.array(
            [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
        )
    )
    found = cohens_kappa(first.tolist(), second.tolist(), range(400), HOW)
    assert (found.low, found.high) == (
        pytest.approx(analytic.kappa_low, abs=0.03),
        pytest.approx(analytic.kappa_upp, abs=0.03),
    )
    copied = cohens_kappa(
        np.repeat(first[:40], 10).tolist(), np.repeat(second[:40], 10).tolist(), np.repeat(range(40), 10).tolist(), HOW
    )
    assert copied.high - copied.low > 2 * (found.high - found.low)


@pytest.mark.parametrize(("estimator", "truth"), [(cohens_kappa, 0.6), (gwets_ac1, 0.6)])
def test_intervals_cover_a_planted_agreement(estimator, truth: float) -> None:
    rng, hits, runs = np.random.default_rng(3), 0, 150
    for seed in range(runs):
        first = rng.random(100) < 0.5
        second = np.where(rng.random(100) < 0.8, first, ~first)
        found = estimator(first.tolist(), second.tolist(), range(100), Resampling(200, seed))
        hits += found.low <= truth <= found.high
    assert hits / runs >= 0.90


def test_no_text_has_no_agreement() -> None:
    assert gwets_ac1([], [], [], HOW).withheld == "no text was labelled by both"
