"""Balance: the standardised difference uses one deviation throughout, and matching minimises the total distance."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nla_eval.stats.balance import nearest_pairs, pooled_deviation, standardised_difference


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1.0, 3.0], [1.0, 3.0], 0.0),
        ([2.0, 4.0], [1.0, 3.0], 1.0),
        ([1.0, 3.0], [2.0, 4.0], -1.0),
        ([5.0, 5.0], [5.0, 5.0], 0.0),
        ([5.0, 5.0], [4.0, 4.0], None),
    ],
)
def test_the_difference_is_in_pooled_deviations(left: list[float], right: list[float], expected: float | None) -> None:
    assert standardised_difference(left, right, pooled_deviation(left, right)) == expected


def test_the_deviation_is_that_of_both_groups() -> None:
    assert pooled_deviation([0.0, 2.0], [0.0, 14.0]) == 5.0


POINTS = npst.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(2)), elements=st.integers(-9, 9))
DONORS = npst.arrays(np.float64, st.tuples(st.integers(4, 6), st.just(2)), elements=st.integers(-9, 9))


@given(wanted=POINTS, donors=DONORS)
def test_no_other_choice_of_donors_is_nearer(wanted: np.ndarray, donors: np.ndarray) -> None:
    def cost(chosen: tuple[int, ...]) -> float:
        return float(((wanted - donors[list(chosen)]) ** 2).sum())

    found = nearest_pairs(wanted, donors)
    assert len(set(found)) == len(wanted)
    best = min(cost(chosen) for chosen in permutations(range(len(donors)), len(wanted)))
    assert cost(tuple(found)) == pytest.approx(best)


def test_too_few_donors_or_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="donors"):
        nearest_pairs(np.zeros((2, 1)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="donors"):
        nearest_pairs(np.zeros((1, 1)), np.zeros((1, 2)))
