"""The formulas of the joint stage: advantages, the clipped surrogate, the KL estimator."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.training.models.grpo import advantages, clipped_surrogate, k3, widest

REWARDS = np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [0.0, 0.0, 6.0]])


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("none", [[-1, 0, 1], [0, 0, 0], [-2, -2, 4]]),
        ("group", [[-(1.5**0.5), 0, 1.5**0.5], [0, 0, 0], [-(0.5**0.5), -(0.5**0.5), 2**0.5]]),
        ("step", np.array([[-1, 0, 1], [0, 0, 0], [-2, -2, 4]]) / (26 / 9) ** 0.5),
    ],
)
def test_advantages_are_rewards_against_their_own_group(scale: str, expected: object) -> None:
    np.testing.assert_allclose(advantages(REWARDS, scale), np.array(expected), atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["none", "group", "step"])
def test_equal_rewards_give_no_advantage_even_after_rounding(scale: str) -> None:
    rewards = np.full((2, 4), -0.3) + np.array([0.0, 1e-9, -1e-9, 0.0])
    assert not advantages(rewards, scale).any()  # type: ignore[arg-type]


def test_the_first_update_is_plain_policy_gradient() -> None:
    new = torch.tensor([-1.0, -2.0, -0.1], requires_grad=True)
    clipped_surrogate(new, new.detach(), -0.7, 0.2).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(new.grad, torch.full((3,), -0.7))


@pytest.mark.parametrize(
    ("advantage", "ratio", "pays"), [(1, 1.5, False), (1, 0.5, True), (-1, 1.5, True), (-1, 0.5, False)]
)
def test_a_token_that_has_moved_far_enough_in_the_wanted_direction_pays_no_more(
    advantage: float, ratio: float, pays: bool
) -> None:
    new = torch.tensor([np.log(ratio)], requires_grad=True)
    clipped_surrogate(new, torch.zeros(1), advantage, 0.2).sum().backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert bool(new.grad.abs() > 0) is pays


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_k3_is_never_negative_and_its_mean_is_the_divergence(policy: list[float], other: list[float]) -> None:
    p = torch.tensor(policy, dtype=torch.float64).log_softmax(0)
    q = torch.tensor(other[: len(policy)], dtype=torch.float64).log_softmax(0)
    each = k3(p, q)
    assert bool((each >= -1e-12).all())
    torch.testing.assert_close((p.exp() * each).sum(), (p.exp() * (p - q)).sum())


@given(
    st.lists(st.lists(st.floats(-2, 0), min_size=5, max_size=5), min_size=1, max_size=4),
    st.integers(2, 5),
)
def test_the_rollouts_learnt_from_are_those_of_greatest_variance(rows: list[list[float]], count: int) -> None:
    rewards = np.array(rows)
    kept = widest(rewards, count)
    assert (kept.sum(axis=1) == count).all()
    for row, chosen in zip(rewards, kept, strict=True):
        every = max(np.var([row[i] for i in c]) for c in combinations(range(5), count))
        assert np.var(row[chosen]) == pytest.approx(every, abs=1e-12)


def test_rollouts_that_are_not_learnt_from_have_no_advantage_and_no_part_in_the_baseline() -> None:
    rewards = np.array([[-2.0, -1.0, -1.1, 0.0]])
    kept = widest(rewards, 2)
    np.testing.assert_allclose(advantages(rewards, "none", kept), [[-1, 0, 0, 1]])
