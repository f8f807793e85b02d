"""The donor lane: slots that share a family or a donor are not independent, and both widen the interval."""

from __future__ import annotations

import numpy as np
import pytest

from nla_eval.stats.interval import Resampling
from nla_eval.stats.two_way import two_way_mean
from nla_eval.stats.wilson import wilson
from nla_eval.stats.zero import upper_bound

HOW = Resampling()


def world(rng: np.random.Generator, slots: int, donors: int, rate: float) -> tuple[list[bool], list[int], list[int]]:
    """Each donor activation is flagged or not, nearly whatever slot it fills."""
    own = rng.beta(rate * 0.4, (1 - rate) * 0.4, donors)
    family, donor = np.arange(slots) // 2, rng.integers(0, donors, slots)
    return (rng.random(slots) < own[donor]).tolist(), family.tolist(), donor.tolist()


@pytest.mark.parametrize(("donors", "rate"), [(24, 0.1), (24, 0.3), (24, 0.5), (50, 0.1)])
def test_intervals_cover_where_activations_are_reused_and_wilson_does_not(donors: int, rate: float) -> None:
    rng, covered, naive, runs = np.random.default_rng([1, donors]), 0, 0, 400
    for _ in range(runs):
        flags, families, of = world(rng, 100, donors, rate)
        found, alone = two_way_mean(flags, families, of, HOW), wilson(sum(flags), len(flags))
        covered += found.low <= rate <= found.high
        naive += alone.low <= rate <= alone.high
    assert covered / runs >= 0.93 - 2 * np.sqrt(0.05 * 0.95 / runs)
    assert naive / runs < 0.8


def test_without_reuse_it_is_near_wilsons() -> None:
    flags = (np.random.default_rng(2).random(400) < 0.3).tolist()
    found, alone = two_way_mean(flags, range(400), range(400), HOW), wilson(sum(flags), 400)
    assert (found.low, found.high) == (pytest.approx(alone.low, abs=0.01), pytest.approx(alone.high, abs=0.01))


def test_no_flag_is_bounded_by_the_rarer_clusters() -> None:
    found = two_way_mean([False] * 100, range(100), [i % 20 for i in range(100)], HOW)
    assert (found.high, found.one_sided, found.n) == (pytest.approx(upper_bound(0, 20)), True, 20)
    assert two_way_mean([True] * 9, range(9), [1] * 9, HOW).withheld.startswith("1 families or donors")
    assert two_way_mean([], [], [], HOW).withheld == "no slot was filled"
