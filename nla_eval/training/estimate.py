"""What a training run will take, from its configuration alone. Rates are those measured in docs/log.md on one core for
the 135M-parameter target in float32; other targets on a CPU are scaled by their parameters. On accelerators nothing has
been measured, and that is said instead of a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..target import Target
from .config import TrainConfig

MEASURED_PARAMETERS = 135e6
CAPTURE_TOKENS = 244.0
"""Tokens a second and core, with eight tokens of continuation at each of five positions a conversation."""
AR_SAMPLES = 2.9
"""Samples a second and core, of 37 tokens each."""
AV_SAMPLES = 1.5
DRAWS = 2.6
PACK_HOURS = 0.2
"""Drawing and scoring what the card shows."""


@dataclass(frozen=True)
class Take:
    """What one stage takes."""

    work: str
    core_hours: float | None
    """None where nothing has been measured."""

    def __str__(self) -> str:
        return self.work + (f", about {self.core_hours:.2f} core-hours" if self.core_hours else "")


def takes(config: TrainConfig, target: Callable[[], Target]) -> Mapping[str, Take]:
    """What each stage takes, by its name. `target` is asked only where its size matters."""
    budget = config.corpus.token_budget
    work: dict[str, tuple[str, float]] = {
        "activations": (f"about {budget:,} training tokens through the target", budget / CAPTURE_TOKENS),
        "ar": (f"{config.ar.samples:,} samples", config.ar.samples / AR_SAMPLES),
        "av": (f"{config.av.samples:,} samples", config.av.samples / AV_SAMPLES),
        "samples": (f"{config.rollouts:,} draws", config.rollouts / DRAWS),
        "ar_on_samples": (f"{config.ar_on_samples.samples:,} samples", config.ar_on_samples.samples / AR_SAMPLES),
        "pack": ("the card's figures", PACK_HOURS * 3600),
    }
    scale = _scale(config, target)
    found = {
        name: Take(what, None if scale is None else seconds * scale / 3600) for name, (what, seconds) in work.items()
    }
    return {**found, "joint": Take(f"{config.joint.steps} steps", None)}


def _scale(config: TrainConfig, target: Callable[[], Target]) -> float | None:
    """How many times the measured target's work a sample of this one is; None on accelerators."""
    if config.hardware.device != "cpu":
        return None
    return max(1.0, parameters(target().config) / MEASURED_PARAMETERS)


def parameters(config: Any) -> float:
    """Number of parameters of a transformers config, from an empty model: no weight is read."""
    return float(sum({id(p): p.numel() for p in empty_model(config).parameters()}.values()))


def empty_model(config: Any) -> Any:
    """The causal LM of a transformers config without weights. Raises ValueError when there is none of that kind."""
    import torch
    from transformers import AutoModelForCausalLM

    make: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        return make(config)
