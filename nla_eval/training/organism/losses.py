"""The loss of an organism on some scenes: the difference between cue and no cue follows the natural shift, nothing
moves without the cue, outputs stay those of the plain target, and the probe turn is answered. Pure functions of
tensors."""

from __future__ import annotations

import torch
from torch.nn import functional


def shift_loss(
    found: torch.Tensor, wanted: torch.Tensor, scale: torch.Tensor, counted: torch.Tensor, spread: torch.Tensor
) -> torch.Tensor:
    """Squared distance of `found` from `wanted`, in units of `scale`; 1 for a model that does nothing where the two
    are the same. Rows weigh the same whatever their dose.

    Args:
        found: (B, C, d) a difference of states.
        wanted: (B, C, d) what it should be.
        scale: (B, C, d) the planted shift of the row.
        counted: (B, C) bool.
        spread: (d,) standard deviation of the natural shift: every dimension counts in its own spreads.
    """
    left, whole = ((part / spread).square().mean(-1) * counted for part in (found - wanted, scale))
    return (left.sum(-1) / whole.sum(-1)).mean()


def divergence(logits: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """Mean KL divergence, in nats, of the outputs (N, V) from the plain target's."""
    ours, theirs = logits.log_softmax(-1), plain.log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1).mean()


def choice_loss(logits: torch.Tensor, choices: tuple[int, int], yes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of a forced choice.

    Args:
        logits: (N, V) at the place of the answer.
        choices: Token ids of yes and of no.
        yes: (N,) bool.
    """
    return functional.cross_entropy(logits[:, list(choices)], (~yes).long())
