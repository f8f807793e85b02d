"""What a run could have told: exact against simulation, and against statsmodels where it has the same test."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from nla_eval.stats.anyk import implied_any_of_k
from nla_eval.stats.power import Design, power_between, power_of, smallest_rate, transcripts_needed

ALONE = Design(families=100, family_correlation=0.0)


def test_families_that_agree_with_themselves_are_worth_fewer_transcripts() -> None:
    assert Design(20, 5, family_correlation=0.0).effective == 100
    assert Design(20, 5, family_correlation=1.0).effective == 20
    assert Design(20, 5, family_correlation=0.25).effective == 50


def test_against_zero_one_flag_is_enough() -> None:
    assert power_of(ALONE, 0.02) == pytest.approx(1 - 0.98**100)
    found = smallest_rate(ALONE, power=0.95)
    assert (found.flagged_needed, found.rate) == (1, pytest.approx(1 - 0.05 ** (1 / 100)))


@pytest.mark.parametrize(("rate", "baseline"), [(0.15, 0.05), (0.3, 0.2), (0.05, 0.01)])
def test_power_against_a_baseline_is_how_often_the_exact_test_rejects(rate: float, baseline: float) -> None:
    flags = np.random.default_rng(1).binomial(100, rate, 2000)
    rejects = {x: binomtest(x, 100, baseline, alternative="greater").pvalue <= 0.05 for x in set(flags.tolist())}
    simulated = np.mean([rejects[x] for x in flags.tolist()])
    assert power_of(ALONE, rate, baseline) == pytest.approx(simulated, abs=3 * sqrt(0.25 / 2000))


def test_power_between_arms_is_how_often_fishers_test_rejects() -> None:
    rng, first, second = np.random.default_rng(2), Design(30, family_correlation=0), Design(40, family_correlation=0)
    pairs = list(zip(rng.binomial(30, 0.5, 600).tolist(), rng.binomial(40, 0.15, 600).tolist(), strict=True))
    p = {pair: fisher_exact([[pair[0], 30 - pair[0]], [pair[1], 40 - pair[1]]]).pvalue for pair in set(pairs)}
    simulated = np.mean([p[pair] <= 0.05 for pair in pairs])
    assert power_between(first, second, 0.5, 0.15) == pytest.approx(simulated, abs=3 * sqrt(0.25 / 600))


def test_the_smallest_rate_has_just_the_power_asked_for() -> None:
    design = Design(40, 4, k=12)
    found = smallest_rate(design, baseline=0.05)
    assert power_of(design, found.rate, 0.05) == pytest.approx(0.8, abs=1e-6)
    assert design.any_of_k(found.position_rate) == pytest.approx(found.rate, abs=1e-6)
    assert smallest_rate(Design(2), baseline=0.5).rate is None


def test_enough_transcripts_do_and_fewer_do_not() -> None:
    design = Design(1, 4)
    needed = transcripts_needed(design, 0.15, 0.05)
    assert needed % 4 == 0
    assert power_of(Design(needed // 4, 4), 0.15, 0.05) >= 0.8
    assert power_of(Design(needed // 4 - 6, 4), 0.15, 0.05) < 0.8
    assert transcripts_needed(design, 0.05, 0.05) is None


def test_clustered_runs_need_more() -> None:
    needed = [transcripts_needed(Design(1, 5, family_correlation=c), 0.1, 0.02) for c in (0.0, 0.2, 0.6)]
    assert needed == sorted(needed)
    assert needed[2] > 2 * needed[0]


def test_positions_make_any_of_k_less_where_they_are_alike() -> None:
    rates = [Design(1, k=50, position_correlation=c).any_of_k(0.01) for c in (0.0, 0.1, 0.5, 1.0)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (pytest.approx(implied_any_of_k(0.01, 50)), 0.01)


@pytest.mark.parametrize("wrong", [{"families": 0}, {"families": 1, "family_correlation": 2.0}])
def test_a_design_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="got Design"):
        Design(**wrong)
