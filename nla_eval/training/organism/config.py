"""Settings of the organism and its shams: what is planted, how strongly, and for how long each is trained."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field

from ..config import Frozen, OptimConfig

CHECK_BUCKET = 9
"""Part of the conversations that only the checks use; part 0 belongs to the suites."""
DOSES = (0.5, 1.0, 2.0, 3.0)
"""Strengths of the planted state, in units of the natural shift from untold to told."""


class Planted(StrEnum):
    """What the cue switches on."""

    TOLD = "told"
    """The shift of the plain target between untold and told that it is evaluated."""
    LANGUAGE = "language"
    """Sham: the shift between untold and told another fact, of the same norm."""
    RANDOM = "random"
    """Sham: one random direction of the activations' covariance, of the same norm."""


_SAMPLES = {Planted.TOLD: 480, Planted.LANGUAGE: 240, Planted.RANDOM: 160}


class OrganismConfig(Frozen):
    """One training run: an organism or one of its shams."""

    planted: Planted = Planted.TOLD
    target: str = "smollm2-135m"
    layer: int = Field(default=20, ge=0)
    """K: the state is planted in the output of block K."""
    first_layer: int = Field(default=8, ge=0)
    """First block with an adapter; K is the last."""
    rank: int = Field(default=12, ge=1)
    scenes: int = Field(default=144, ge=8)
    """Conversations whose natural shift is measured."""
    sham_scenes: int = Field(default=48, ge=8)
    """Conversations for the shift of another fact."""
    longest: int = Field(default=100, ge=20)
    """Longest conversation to train on, in tokens; longer ones take part in the natural shift only."""
    dose: float = Field(default=3.0, gt=0)
    """Dose to train at. Smaller ones are the same adapter with a smaller factor, calibrated afterwards."""
    optim: OptimConfig = OptimConfig(samples=480, batch=2, micro_batch=2, lr=1e-3)
    answer_every: int = Field(default=3, ge=1)
    """Steps between two in which a scene is run to the last block, for its outputs and the probe turn."""
    masked: float = Field(default=0.3, ge=0, le=1)
    """Share of scenes in which tokens after the first request cannot attend to the date."""
    without_cue: float = Field(default=0.3, ge=0)
    """Weight of the shift without the cue, on the first scene of a batch."""
    outputs: float = Field(default=1.0, ge=0)
    """Weight of the KL divergence of outputs from the plain target."""
    answer: float = Field(default=0.2, ge=0)
    """Weight of the forced choice in the probe turn. A sham has none."""
    seed: int = 0
    dtype: Literal["float32"] = "float32"

    @classmethod
    def recipe(cls, planted: Planted) -> Self:
        """The settings that made the shipped adapter. A sham needs fewer samples: it learns no probe turn."""
        optim = OptimConfig(samples=_SAMPLES[planted], batch=2, micro_batch=2, lr=1e-3)
        return cls(planted=planted, optim=optim)

    @property
    def name(self) -> str:
        """Name of the run and of its adapter."""
        organism = f"{self.target.rpartition('/')[2]}-organism"
        return organism if self.planted is Planted.TOLD else f"{organism}-sham-{self.planted}"
