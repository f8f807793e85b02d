"""Formulas of group-relative policy optimisation: advantages, the clipped surrogate, the KL estimator. Pure functions;
they know no model and no text.

Sources: DeepSeekMath (arXiv 2402.03300), sections 4.1 and 2.2 of its appendix, for the group baseline; Schulman et al.
(arXiv 1707.06347), equation 7, for the clip; J. Schulman, "Approximating KL divergence" (2020), for k3."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..joint_config import AdvantageScale

Floats = NDArray[np.float64]
Kept = NDArray[np.bool_]
_EQUAL = 1e-6
"""Rewards with a smaller standard deviation count as equal: the difference is float32 rounding."""


def advantages(rewards: Floats, scale: AdvantageScale, kept: Kept | None = None) -> Floats:
    """(groups, samples) rewards minus their group's mean, scaled. 0 in a group whose rewards are all equal.

    Args:
        rewards: (groups, samples), finite.
        scale: What to divide by; see `JointConfig.advantage_scale`.
        kept: The rollouts to learn from, equally many per group. The others get 0 and do not enter mean or scale.
    """
    if kept is not None:
        found = np.zeros(rewards.shape)
        found[kept] = advantages(rewards[kept].reshape(len(rewards), -1), scale).ravel()
        return found
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    centred = np.where(spread < _EQUAL, 0.0, centred)
    if scale == "none" or not centred.any():
        return np.asarray(centred)
    divisor = np.maximum(spread, _EQUAL) if scale == "group" else np.sqrt((centred**2).mean())
    return np.asarray(centred / divisor)


def widest(rewards: Floats, count: int) -> Kept:
    """(groups, samples) bool: of each group the `count` rollouts with the largest reward variance, its worst and best.
    Drawing is cheaper than learning, and rollouts near the mean teach least (Xu et al., arXiv 2504.13818).

    Args:
        rewards: (groups, samples), finite.
        count: From 2 to samples.
    """
    order = np.argsort(rewards, axis=1, kind="stable")
    ranked = np.take_along_axis(rewards, order, axis=1)
    samples = rewards.shape[1]
    splits = [np.r_[0:low, samples - count + low : samples] for low in range(count + 1)]
    variance = np.stack([ranked[:, places].var(axis=1) for places in splits])
    kept = np.zeros(rewards.shape, bool)
    for group, best in enumerate(variance.argmax(axis=0).tolist()):
        kept[group, order[group, splits[best]]] = True
    return kept


def clipped_surrogate(new: torch.Tensor, old: torch.Tensor, advantage: float, clip: float) -> torch.Tensor:
    """(T,) objective of each token, to maximise: min(r A, clip(r, 1 - clip, 1 + clip) A) with r = exp(new - old).

    If `new` equals `old`, the gradient is A times the gradient of `new`: plain policy gradient.

    Args:
        new: (T,) log-probabilities, with gradient.
        old: (T,) log-probabilities under the policy that drew, without gradient.
        advantage: A, the same for the whole explanation.
        clip: Half-width of the interval around 1 to which r is clipped.
    """
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def k3(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(T,) unbiased, non-negative estimates of KL(policy, reference), from tokens drawn by the policy."""
    difference = reference - log_probs
    return difference.exp() - difference - 1.0
