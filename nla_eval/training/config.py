"""One frozen configuration for a training run, read from YAML. Every field has a default that reproduces the shipped
pack; an unknown key is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from .joint_config import JointConfig


class Frozen(BaseModel):
    """Base of every section."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusConfig(Frozen):
    """Which conversations are read, and where."""

    source: str = "sharegpt"
    """Registered source of chats."""
    path: str | None = None
    """File for sources that need one."""
    buckets_train: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9)
    """Conversations whose family hash modulo 10 is in here train; the rest never do."""
    buckets_held_out: tuple[int, ...] = (1,)
    """Conversations held out for the card. Bucket 0 belongs to the shipped real-usage suite."""
    token_budget: int = 420_000
    """Tokens of replayed training conversations."""
    held_out_conversations: int = 72
    length_mix: tuple[tuple[int, float], ...] = ((256, 0.55), (640, 0.27), (1536, 0.18))
    """(maximum tokens, share of conversations): longer ones are cut there."""
    positions_per_conversation: int = 10
    """Drawn by the `stratified` policy, plus `boundaries`."""
    min_position: int = 28
    """First readable token: behind the target's default system prompt. Becomes the pack's `min_position`."""
    min_document_frequency: int = 40
    """A word of an explanation must stand in at least this many training conversations: keeps rare names out."""


class OptimConfig(Frozen):
    """One optimisation stage."""

    samples: int
    """Training samples seen."""
    batch: int = 32
    lr: float = 1e-3
    """Peak rate; 3 % linear warm-up, then cosine to 10 %."""
    lora_rank: int = 16
    epochs_shuffle_seed: int = 0


class TrainConfig(Frozen):
    """A whole run: corpus, activations, warm-start explanations, AR, AV, AR on the AV's own samples, card, pack."""

    name: str = "smollm2-135m-l20"
    """Name of the pack."""
    target: str = "smollm2-135m"
    layer: int = 20
    """K: the output of block K is read."""
    injection_scale: float | None = None
    """L2 norm of the injected vector; None takes the mean norm of the training activations, rounded to ten."""
    seed: int = 0
    processes: int = 2
    """Single-thread worker processes for capture; training stages run one process of `threads` threads."""
    threads: int = 1
    corpus: CorpusConfig = Field(default_factory=CorpusConfig)
    ar: OptimConfig = OptimConfig(samples=9_600, lr=1e-3)
    av: OptimConfig = OptimConfig(samples=14_400, lr=1.5e-3)
    ar_on_samples: OptimConfig = OptimConfig(samples=4_800, lr=5e-4)
    """The AR continues on explanations the AV drew, mixed with reference ones: without it the AR is
    over-confident on AV text (round trip 0.07 against 0.74 on references in a trial). 0 samples leave it out."""
    references_per_rollout: int = 2
    """Reference explanations in that mixture for each drawn one; with too few the AR forgets the references."""
    rollouts: int = 2_400
    """Explanations the AV draws for that stage, at temperature 1."""
    joint: JointConfig = JointConfig()
    """GRPO on the AV while the AR learns from the same rollouts; begins from `ar_on_samples` where that ran."""


def load_config(path: Path) -> TrainConfig:
    """Read a YAML training configuration. Raises InputError naming the field."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as err:
        raise InputError(f"training config {path.name}: {str(err).splitlines()[0]}") from err
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"training config {path.name}: {where}: {first['msg']}; see TrainConfig for the fields"
        ) from err
