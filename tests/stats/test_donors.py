"""Any-of-k of slots that reuse donors: the interval knows of both; families that are alike are resampled as kinds."""

from __future__ import annotations

import numpy as np
import pytest

from nla_eval.stats.alike import alike
from nla_eval.stats.bootstrap import arm_difference, cluster_mean
from nla_eval.stats.donors import any_of_reused
from nla_eval.stats.interval import Resampling
from nla_eval.stats.perfect import perfect_difference
from nla_eval.stats.two_way import two_way_mean
from nla_eval.stats.wilson import wilson
from nla_eval.stats.zero import upper_bound

HOW = Resampling(resamples=400)


def world(rng: np.random.Generator, transcripts: int, k: int, donors: int, rate: float, alike: float):
    """Flags by slot, with a rate of its own for every donor."""
    lent = rng.integers(0, donors, (transcripts, k))
    flags = rng.random((transcripts, k)) < rng.beta(rate * alike, (1 - rate) * alike, donors)[lent]
    return flags, lent


@pytest.mark.parametrize(("k", "rate", "alike"), [(1, 0.3, 3), (4, 0.05, 5)])
def test_it_covers_where_wilson_does_not(k: int, rate: float, alike: float) -> None:
    rng = np.random.default_rng(7)
    truth = float(world(rng, 40_000, k, 40_000, rate, alike)[0].any(axis=1).mean())
    worlds, covered, naive = 150, 0, 0
    for _ in range(worlds):
        flags, lent = world(rng, 100, k, 24, rate, alike)
        transcripts = np.repeat(np.arange(100), k).tolist()
        found = any_of_reused(flags.ravel().tolist(), transcripts, lent.ravel().tolist(), transcripts, HOW)
        bare = wilson(int(flags.any(axis=1).sum()), 100)
        covered += found.low <= truth <= found.high
        naive += bare.low <= truth <= bare.high
    assert covered >= 0.9 * worlds
    assert naive < 0.85 * worlds


def test_with_one_slot_a_transcript_it_is_the_two_way_interval() -> None:
    flags, lent = world(np.random.default_rng(1), 60, 1, 20, 0.3, 3)
    families = [i // 2 for i in range(60)]
    one = any_of_reused(flags.ravel().tolist(), list(range(60)), lent.ravel().tolist(), families, HOW)
    two = two_way_mean(flags.ravel().astype(float).tolist(), families, lent.ravel().tolist(), HOW)
    assert (one.value, one.n) == (two.value, two.n)
    assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=0.02)


@pytest.mark.parametrize(
    ("flags", "donors", "withheld"),
    [([], 0, "no slot was filled"), ([True] * 20, 7, "7 families or donors; an interval needs at least 8")],
)
def test_few_or_none_are_withheld_with_the_reason(flags: list[bool], donors: int, withheld: str) -> None:
    transcripts = list(range(len(flags)))
    found = any_of_reused(flags, transcripts, [i % max(donors, 1) for i in transcripts], transcripts, HOW)
    assert found.withheld == withheld


def test_nothing_flagged_is_a_one_sided_bound_over_the_rarer() -> None:
    transcripts = list(range(40))
    found = any_of_reused([False] * 40, transcripts, [i % 10 for i in transcripts], transcripts, HOW)
    assert (found.value, found.one_sided) == (0.0, True)
    assert found.high == pytest.approx(upper_bound(0, 10))


def test_a_thousand_singletons_are_two_kinds_and_give_the_interval_of_the_listed_ones(monkeypatch) -> None:
    rng = np.random.default_rng(2)
    values = (rng.random(1000) < 0.1).astype(float).tolist()
    kinds = alike(np.stack([values, np.ones(1000)], axis=1))
    assert (len(kinds.rows), kinds.counts.sum()) == (2, 1000)
    counted = cluster_mean(values, range(1000), HOW)
    monkeypatch.setattr("nla_eval.stats.alike.LEAST", 10_000)
    listed = cluster_mean(values, range(1000), HOW)
    assert counted.value == listed.value
    assert (counted.low, counted.high) == pytest.approx((listed.low, listed.high), abs=0.003)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_constant_arms_have_exact_bounds(a: int, b: int) -> None:
    families = list(range(20))
    found = arm_difference([float(a)] * 20, families, [float(b)] * 20, families, HOW)
    assert found == perfect_difference((float(a), float(b)), (20, 20))
    assert found.value == a - b
    assert found.low <= a - b <= found.high
    assert found.high - found.low == pytest.approx(2 * upper_bound(0, 20, 0.975))
