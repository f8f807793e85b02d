"""Nested variance: planted components come back, and what the data cannot tell apart is said to be so."""

from __future__ import annotations

import numpy as np
import pytest

from nla_eval.stats.variance import VarianceSplit, variance_split


def planted(rng: np.random.Generator, draws: int = 3, positions: int = 4) -> VarianceSplit:
    """0.5 +- shares by level, so that the components are the squares of the shares."""
    rows = []
    for family in range(30):
        f = rng.choice([-1, 1]) * 0.15
        for transcript in range(3):
            t = rng.choice([-1, 1]) * 0.1
            for position in range(positions):
                p = rng.choice([-1, 1]) * 0.2
                rows += [(rng.random() < 0.5 + f + t + p, position, transcript, family) for _ in range(draws)]
    return variance_split(*(list(column) for column in zip(*rows, strict=True)))


def test_planted_components_come_back_without_bias() -> None:
    rng = np.random.default_rng(1)
    found = [planted(rng) for _ in range(60)]
    for name, truth in (("family", 0.0225), ("transcript", 0.01), ("position", 0.04), ("draw", 0.1775)):
        values = [getattr(split, name) for split in found]
        assert np.mean(values) == pytest.approx(truth, abs=3 * np.std(values) / np.sqrt(60))


def test_components_add_up_to_the_total_and_give_correlations() -> None:
    found = planted(np.random.default_rng(2))
    assert found.family + found.transcript + found.position + found.draw == pytest.approx(found.total)
    assert found.correlation("position") == pytest.approx(1 - found.draw / found.total)
    with pytest.raises(ValueError, match="family, transcript, position"):
        found.correlation("token")


def test_draws_that_always_agree_have_no_variance_of_their_own() -> None:
    outcomes = [bool(p % 2) for p in range(40) for _ in range(2)]
    positions = [p for p in range(40) for _ in range(2)]
    found = variance_split(outcomes, positions, [p % 4 for p in positions], [p % 2 for p in positions])
    assert found.draw == pytest.approx(0)


def test_with_one_draw_a_position_holds_both_and_says_so() -> None:
    found = planted(np.random.default_rng(3), draws=1)
    assert found.draw is None
    assert found.position == pytest.approx(found.total - found.family - found.transcript)
    alone = planted(np.random.default_rng(3), draws=1, positions=1)
    assert (alone.position, alone.draw) == (None, None)
    assert variance_split([], [], [], []) is None
