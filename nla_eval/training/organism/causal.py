"""Does the planted direction act? Patching it into the plain target, and removing it from the organism, both in the
output of block K; the effect is the log-odds of yes in the probe turn. In: sequences of states. Out: figures and
ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from .states import Runner


class Patching(BaseModel):
    """Effect of adding one direction to the plain target's states."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    moved: float
    """Mean change of the log-odds of yes."""
    random_moved: float
    """Largest change by a random direction of the same norm."""
    directions: int
    """Number of random directions."""
    above: int
    """How many of them move the log-odds less."""


class Ablation(BaseModel):
    """Effect of removing directions from the organism's states with the cue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: float
    """Mean log-odds of yes with the cue minus without."""
    removed: float
    """Share of the effect that removing the planted direction takes away."""
    random: int
    """Number of random directions of the activations' covariance, equal variance removed."""
    above_random: int
    """How many of them take away less."""
    facts: int
    """Number of other facts' directions."""
    above_facts: int
    best_random: float
    best_fact: float


@dataclass(frozen=True)
class Sequences:
    """Outputs of block K for some scenes, (T, d) each, and where their scenes begin."""

    states: list[torch.Tensor]
    starts: list[int]

    def rows(self) -> torch.Tensor:
        """(n, d) the states of all scene tokens."""
        return torch.cat([one[start:] for one, start in zip(self.states, self.starts, strict=True)])


def drawn(rows: torch.Tensor, count: int, seed: int | Sequence[int]) -> torch.Tensor:
    """(count, d) unit directions drawn from the covariance of `rows` (n, d)."""
    random = np.random.default_rng(seed)
    weights = torch.from_numpy(random.standard_normal((count, len(rows)))).float()
    found: torch.Tensor = weights @ (rows - rows.mean(0))
    unit: torch.Tensor = found / found.norm(dim=1, keepdim=True)
    return unit


@torch.inference_mode()
def patched(
    plain: Runner, without: Sequences, shift: torch.Tensor, choices: tuple[int, int], count: int, seed: int
) -> Patching:
    """Add `shift` (d,), fitted on other conversations, to the plain target's states at every scene token, and compare
    with `count` random directions of the same norm."""
    before = plain.answers(without.states, choices)

    def moved(change: torch.Tensor) -> float:
        changed = []
        for one, start in zip(without.states, without.starts, strict=True):
            edited = one.clone()
            edited[start:] += change
            changed.append(edited)
        return float((plain.answers(changed, choices) - before).mean())

    ours = moved(shift)
    others = [moved(unit * shift.norm()) for unit in drawn(without.rows(), count, seed)]
    return Patching(
        moved=round(ours, 3), random_moved=round(max(others), 3), directions=count, above=sum(o < ours for o in others)
    )


@torch.inference_mode()
def ablated(
    organism: Runner,
    cue: Sequences,
    without: Sequences,
    shift: torch.Tensor,
    facts: Sequence[torch.Tensor],
    choices: tuple[int, int],
    count: int,
    seed: int,
) -> Ablation:
    """Remove the planted direction, `count` random ones and other facts' from the organism's states with the cue.

    A direction is removed by moving its component at every scene token to the mean of the states without the cue. The
    component of a random direction is scaled, so that all take away the same variance.

    Args:
        shift: (d,) planted direction, fitted on other conversations.
        facts: (d,) directions of other facts.
    """
    centre, rows = without.rows().mean(0), cue.rows()
    base = organism.answers(without.states, choices)
    full = organism.answers(cue.states, choices)
    effect = float((full - base).mean())
    size = _component(rows, centre, shift / shift.norm())

    def share(unit: torch.Tensor, *, scaled: bool) -> float:
        factor = size / _component(rows, centre, unit) if scaled else 1.0
        changed = []
        for one, start in zip(cue.states, cue.starts, strict=True):
            edited = one.clone()
            edited[start:] -= factor * ((one[start:] - centre) @ unit)[:, None] * unit
            changed.append(edited)
        left = float((organism.answers(changed, choices) - base).mean())
        return 1.0 - left / effect

    ours = share(shift / shift.norm(), scaled=False)
    random = [share(unit, scaled=True) for unit in drawn(without.rows(), count, seed)]
    others = [share(fact / fact.norm(), scaled=True) for fact in facts]
    return Ablation(
        effect=round(effect, 3), removed=round(ours, 3),
        random=count, above_random=sum(share < ours for share in random), best_random=round(max(random), 3),
        facts=len(others), above_facts=sum(share < ours for share in others), best_fact=round(max(others), 3),
    )  # fmt: skip


def _component(rows: torch.Tensor, centre: torch.Tensor, unit: torch.Tensor) -> float:
    """Root mean square of the component of `rows` (n, d) along `unit`, about `centre`."""
    return float(((rows - centre) @ unit).square().mean().sqrt())
