"""Estimates the cost of a training run from its configuration alone. The rates were measured on one core with the
135M-parameter target in float32 (docs/log.md). Other targets on a CPU are scaled by their number of parameters. No rate
has been measured on accelerators, so the estimate gives no time there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..engines.loading import trunk_config
from ..models.target import Target
from .config import TrainConfig
from .models.loading import dtype_of

MEASURED_PARAMETERS = 135e6
CAPTURE_TOKENS = 244.0
"""Tokens per second and core, with eight continuation tokens at each of five positions per conversation."""
AR_SAMPLES = 2.9
"""Samples of 37 tokens per second and core."""
AV_SAMPLES = 1.5
DRAWS = 2.6
_BACKWARD = 3.0
"""Work of a training step per forward of its tokens."""
PACK_HOURS = 0.53
"""Core-hours of drawing and scoring for the card."""
TRAINED_BYTES = 16
"""Bytes per trained weight: the weight, its gradient and AdamW's two moments, in float32."""


@dataclass(frozen=True)
class Take:
    """Cost of one stage."""

    work: str
    core_hours: float | None
    """None if no rate has been measured."""

    def __str__(self) -> str:
        return self.work + (f", about {self.core_hours:.2f} core-hours" if self.core_hours else "")


def takes(config: TrainConfig, target: Callable[[], Target]) -> Mapping[str, Take]:
    """Cost of each stage, by stage name. `target` is called only if its size matters."""
    budget = config.corpus.token_budget
    work: dict[str, tuple[str, float]] = {
        "activations": (f"about {budget:,} training tokens through the target", budget / CAPTURE_TOKENS),
        "ar": (f"{config.ar.samples:,} samples", config.ar.samples / AR_SAMPLES),
        "av": (f"{config.av.samples:,} samples", config.av.samples / AV_SAMPLES),
        "samples": (f"{config.rollouts:,} draws", config.rollouts / DRAWS),
        "ar_on_samples": (f"{config.ar_on_samples.samples:,} samples", config.ar_on_samples.samples / AR_SAMPLES),
        "text_only": (
            f"{config.text_only.samples:,} samples of up to {config.text_only.window} tokens",
            config.text_only.samples * config.text_only.window / CAPTURE_TOKENS * _BACKWARD,
        ),
        "pack": (_pack_work(config, target), PACK_HOURS * 3600),
    }
    scale = _scale(config, target)
    found = {
        name: Take(what, None if scale is None else seconds * scale / 3600) for name, (what, seconds) in work.items()
    }
    return {**found, "joint": Take(_joint_work(config, target), None)}


def _pack_work(config: TrainConfig, target: Callable[[], Target]) -> str:
    if config.av.lora_rank and config.ar.lora_rank:
        return "the card's figures"
    return f"the card's figures; {said_bytes(whole_bytes(config, target()))} of whole weights, not for git"


def _joint_work(config: TrainConfig, target: Callable[[], Target]) -> str:
    """The joint stage's steps, and its memory if all weights train."""
    steps = f"{config.joint.steps} steps"
    if not config.joint.steps or (config.av.lora_rank and config.ar.lora_rank):
        return steps
    trained = dict(_whole_parameters(config, target()))
    device = said_bytes(TRAINED_BYTES * sum(trained.values()))
    copies = " (another dtype for drawing not counted)" if dtype_of(config.hardware) is not torch.float32 else ""
    reference = 4 * trained.get("av", 0) if config.joint.kl else 0
    kept = f" and {said_bytes(reference)} on the CPU for the KL" if reference else ""
    return f"{steps}; {device} for weights, gradients and moments{copies}{kept}"


def whole_bytes(config: TrainConfig, target: Target) -> float:
    """Bytes of the whole checkpoints in the pack, in bf16; 0 for a pack of adapters."""
    return 2 * sum(_whole_parameters(config, target).values())


def checkpoint_bytes(config: TrainConfig, target: Target) -> float:
    """Bytes of the checkpoints of stages that train all weights. Each stage keeps weights and two moments in float32;
    each snapshot of the joint stage keeps the weights alone. 0 with adapters."""
    counts, joint = _whole_parameters(config, target), config.joint
    snapshots = math.ceil(joint.steps / joint.snapshot_every)
    stages = {"av": 1, "ar": 1 + bool(config.ar_on_samples.samples)}
    return sum(n * (12 * (stages[role] + bool(joint.steps)) + 4 * snapshots) for role, n in counts.items())


def _whole_parameters(config: TrainConfig, target: Target) -> Mapping[str, float]:
    """Role to number of weights, for each role that trains all its weights."""
    found: dict[str, float] = {}
    if not config.av.lora_rank:
        found["av"] = parameters(target.config)
    if not config.ar.lora_rank:
        cut = trunk_config(target.path, config.layer, trust=config.trust_remote_code)
        cut.tie_word_embeddings = True
        found["ar"] = parameters(cut) + cut.hidden_size**2
    return found


def said_bytes(count: float) -> str:
    """`count` bytes in decimal units, such as "1.3 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _scale(config: TrainConfig, target: Callable[[], Target]) -> float | None:
    """Work per sample relative to the measured target; None on accelerators."""
    if config.hardware.device != "cpu":
        return None
    return max(1.0, parameters(target().config) / MEASURED_PARAMETERS)


def parameters(config: Any) -> float:
    """Number of parameters of a transformers config, counted on an empty model. Reads no weights."""
    return float(sum({id(p): p.numel() for p in empty_model(config).parameters()}.values()))


def empty_model(config: Any) -> Any:
    """The causal LM of a transformers config, without weights. Raises ValueError if transformers has no such model."""
    import torch
    from transformers import AutoModelForCausalLM

    make: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        return make(config)
