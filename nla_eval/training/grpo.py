"""The formulas of group-relative policy optimisation: rewards to advantages, the clipped surrogate, the KL estimator.
Pure functions; they know no model and no text.

Sources: DeepSeekMath (arXiv 2402.03300), sections 4.1 and 2.2 of its appendix, for the group baseline; Schulman et al.
(arXiv 1707.06347), equation 7, for the clip; J. Schulman, "Approximating KL divergence" (2020), for k3."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .joint_config import AdvantageScale

Floats = NDArray[np.float64]
_EQUAL = 1e-6
"""Rewards that spread less than this, as a standard deviation, count as equal: the rest is float32 rounding."""


def advantages(rewards: Floats, scale: AdvantageScale) -> Floats:
    """(groups, samples) rewards less their group's mean, scaled; zero in a group whose rewards are all equal.

    Args:
        rewards: (groups, samples), finite.
        scale: What to divide by; see `JointConfig.advantage_scale`.
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    centred = np.where(spread < _EQUAL, 0.0, centred)
    if scale == "none" or not centred.any():
        return np.asarray(centred)
    divisor = np.maximum(spread, _EQUAL) if scale == "group" else np.sqrt((centred**2).mean())
    return np.asarray(centred / divisor)


def clipped_surrogate(new: torch.Tensor, old: torch.Tensor, advantage: float, clip: float) -> torch.Tensor:
    """(T,) the objective of each token, to be raised: min(r A, clip(r, 1 - clip, 1 + clip) A) with r = exp(new - old).

    Where `new` equals `old`, its gradient is A times that of `new`: plain policy gradient.

    Args:
        new: (T,) log-probabilities, with gradient.
        old: (T,) those of the policy that drew, without.
        advantage: Of the whole explanation.
        clip: Half-width of the interval of r that still pays.
    """
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def k3(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(T,) unbiased, non-negative estimates of KL(policy, reference) from tokens that the policy drew."""
    difference = reference - log_probs
    return difference.exp() - difference - 1.0
