"""Perfect results get a one-sided bound that holds, and rare or unequal ones an interval that covers."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from nla_eval.stats.abbott import abbott_paired
from nla_eval.stats.auroc import auroc_by_cluster, auroc_shared_clusters
from nla_eval.stats.bootstrap import arm_difference, cluster_mean
from nla_eval.stats.interval import Resampling
from nla_eval.stats.paired import paired_difference
from nla_eval.stats.zero import upper_bound

HOW = Resampling(resamples=200, seed=1)


def families(n: int, size: int = 3) -> list[int]:
    return [i // size for i in range(n * size)]


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 1 - upper_bound(0, 20), 1.0), (0.0, 0.0, upper_bound(0, 20))])
def test_a_rate_of_all_or_nothing_is_bounded_on_one_side(value: float, low: float, high: float) -> None:
    found = cluster_mean([value] * 60, families(20), HOW)
    assert (found.value, found.low, found.high) == (value, pytest.approx(low), pytest.approx(high))
    assert (found.one_sided, found.withheld) == (True, None)


def test_unequal_families_bound_less_than_as_many_equal_ones() -> None:
    lopsided = families(20) + [0] * 300
    assert cluster_mean([0.0] * len(lopsided), lopsided, HOW).high > 2 * upper_bound(0, 20)


@pytest.mark.parametrize(("shift", "value"), [(1.0, 1.0), (-1.0, 0.0)])
def test_a_perfect_auroc_is_bounded_by_pairs_of_families(shift: float, value: float) -> None:
    rng = np.random.default_rng(1)
    found = auroc_by_cluster(
        (rng.random(90) + shift).tolist(), families(30), rng.random(60).tolist(), families(20), HOW
    )
    assert (found.value, found.one_sided, found.n) == (value, True, 20)
    assert found.high - found.low == pytest.approx(upper_bound(0, 20))
    scores, side = [*(rng.random(60) + shift), *rng.random(60)], [True] * 60 + [False] * 60
    paired = auroc_shared_clusters(scores, side, families(20) * 2, HOW)
    assert paired.high - paired.low == pytest.approx(upper_bound(0, 10))


def test_the_bound_of_a_perfect_auroc_is_rarely_too_high() -> None:
    shift, rng, wrong = 2.6, np.random.default_rng(2), 0
    truth = float(norm.cdf(shift / sqrt(2)))
    for _ in range(300):
        a, b = rng.standard_normal(10) + shift, rng.standard_normal(10)
        found = auroc_by_cluster(a.tolist(), range(10), b.tolist(), range(10), HOW)
        wrong += found.one_sided and found.low > truth
    assert wrong / 300 <= 0.05


def covered(estimates, truth: float) -> float:
    found = [e.low <= truth <= e.high for e in estimates]
    return sum(found) / len(found)


def lanes(rng: np.random.Generator, groups: int, p: float, c: float) -> tuple[list[float], list[float], list[int]]:
    family = families(groups, 2)
    a, b = (rng.beta(r * 4, (1 - r) * 4, groups)[family] for r in (p, c))
    return (
        (rng.random(len(family)) < a).astype(float).tolist(),
        (rng.random(len(family)) < b).astype(float).tolist(),
        family,
    )


SMALL = [(24, 0.02, 0.02), (12, 0.06, 0.02), (8, 0.06, 0.02), (24, 0.06, 0.02), (12, 0.5, 0.4), (50, 0.2, 0.1)]


@pytest.mark.parametrize(("groups", "p", "c"), SMALL)
def test_abbott_and_the_paired_difference_cover_in_few_families_and_for_rare_flags(groups, p, c) -> None:
    rng = np.random.default_rng([3, groups])
    worlds = [lanes(rng, groups, p, c) for _ in range(300)]
    least = 0.93 - 2 * sqrt(0.05 * 0.95 / 300)
    assert covered([paired_difference(*world, HOW) for world in worlds], p - c) >= least
    assert covered([abbott_paired(*world, HOW) for world in worlds], (p - c) / (1 - c)) >= least


@pytest.mark.full
@pytest.mark.parametrize(("groups", "p", "c"), SMALL)
def test_paired_intervals_cover_in_many_worlds(groups, p, c) -> None:
    rng = np.random.default_rng([4, groups])
    worlds = [lanes(rng, groups, p, c) for _ in range(2000)]
    assert covered([paired_difference(*world, HOW) for world in worlds], p - c) >= 0.93
    assert covered([abbott_paired(*world, HOW) for world in worlds], (p - c) / (1 - c)) >= 0.93


def fractions(rng: np.random.Generator, groups: int, p: float, c: float) -> tuple[list[float], list[float], list[int]]:
    a, b, family = lanes(rng, groups, p, c)
    return (*((rng.binomial(12, np.clip(0.7 * np.array(x) + 0.01, 0, 1)) / 12).tolist() for x in (a, b)), family)


@pytest.mark.parametrize(("groups", "p", "c"), [(12, 0.06, 0.02), (24, 0.02, 0.02), (24, 0.2, 0.1), (50, 0.06, 0.02)])
def test_differences_of_fractions_cover_too(groups, p, c) -> None:
    rng = np.random.default_rng([5, groups])
    found = [paired_difference(*fractions(rng, groups, p, c), HOW) for _ in range(300)]
    assert covered(found, 0.7 * (p - c)) >= 0.93 - 2 * sqrt(0.05 * 0.95 / 300)


def unequal(rng: np.random.Generator, groups: int, rate: float) -> tuple[list[float], list[int]]:
    sizes = np.ceil(np.exp(rng.normal(1, 1, groups))).astype(int).clip(1, 60)
    family = np.repeat(np.arange(groups), sizes)
    own = rng.beta(rate * 4, (1 - rate) * 4, groups)
    return (rng.random(len(family)) < own[family]).astype(float).tolist(), family.tolist()


@pytest.mark.parametrize(("groups", "rate"), [(12, 0.3), (25, 0.1), (25, 0.5), (50, 0.3)])
def test_unequal_families_cover(groups: int, rate: float) -> None:
    rng = np.random.default_rng([6, groups])
    found = [cluster_mean(*unequal(rng, groups, rate), HOW) for _ in range(300)]
    assert covered(found, rate) >= 0.93 - 2 * sqrt(0.05 * 0.95 / 300)


@pytest.mark.full
@pytest.mark.parametrize(("groups", "rate"), [(12, 0.3), (25, 0.1), (25, 0.5), (50, 0.1), (50, 0.3)])
def test_unequal_families_cover_in_many_worlds(groups: int, rate: float) -> None:
    rng = np.random.default_rng([7, groups])
    assert covered([cluster_mean(*unequal(rng, groups, rate), HOW) for _ in range(2000)], rate) >= 0.93


def test_a_difference_of_unequal_arms_covers() -> None:
    rng = np.random.default_rng(8)
    found = [arm_difference(*unequal(rng, 25, 0.4), *unequal(rng, 25, 0.2), HOW) for _ in range(300)]
    assert covered(found, 0.2) >= 0.93 - 2 * sqrt(0.05 * 0.95 / 300)
