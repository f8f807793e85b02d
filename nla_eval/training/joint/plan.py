"""Rows, masked groups, learning rate and reward of a step of the joint stage. They depend on the step and the
configuration only, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...engines.base import Draw
from ...measure.parts import repeated
from ...readings import StopReason
from ..joint_config import JointConfig


def rows_of(step: int, count: int, rows: int, seed: Sequence[int]) -> list[int]:
    """The `count` row numbers (of `rows`) used at `step`. Every row is used once per epoch, in a seeded order."""
    places = range(step * count, (step + 1) * count)
    orders = {e: np.random.default_rng([*seed, e]).permutation(rows) for e in {place // rows for place in places}}
    return [int(orders[place // rows][place % rows]) for place in places]


def masked_groups(step: int, groups: int, share: float, seed: int) -> frozenset[int]:
    """The groups of `step` that are scored on masked text. Over many steps they are `share` of all groups."""
    count = math.floor(share * groups * (step + 1) + 1e-9) - math.floor(share * groups * step + 1e-9)
    order = np.random.default_rng([seed, 4, step]).permutation(groups)
    return frozenset(order[:count].tolist())


def learning_rate(peak: float, step: int, config: JointConfig) -> float:
    """Linear warm-up, then constant, or cosine to 10 % of the peak at the last step."""
    if step < config.warmup_steps:
        return peak * (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return peak
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress))))


def reward(draw: Draw, mse_nrm: float, config: JointConfig) -> float:
    """Reward of one rollout.

    Args:
        draw: The rollout.
        mse_nrm: Error of the AR's reconstruction from its text; ignored if the draw is unclosed.
        config: Kind of reward and penalties.
    """
    if draw.stop is not StopReason.CLOSED:
        return config.unclosed_reward
    earned = -mse_nrm if config.reward == "mse" else -math.log(max(mse_nrm, 1e-6))
    too_long = config.length_penalty * max(0, draw.tokens - config.length_free)
    return earned - too_long - config.repeat_penalty * repeated(draw.text)
