"""Settings of the setting adapter: conversations, rows, optimisation. `SettingConfig()` made the shipped one."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from ..config import Frozen, OptimConfig, SourceConfig


class Part(StrEnum):
    """What conversations are used for. No conversation is in two parts."""

    TRAIN = "train"
    CALIBRATE = "calibrate"
    """Fixes slope, bias and threshold."""
    HELD_OUT = "held_out"
    """Measured once, with wordings and frames that no lesson has."""


BUCKETS = {Part.TRAIN: (2, 3, 4, 5, 6, 7), Part.CALIBRATE: (8,), Part.HELD_OUT: (1,)}
"""Parts of the conversations by hash of their family. 0 belongs to the suites, 9 to the organism's checks."""


class SettingConfig(Frozen):
    """One training run."""

    pack: str = "smollm2-135m-l20"
    """The pack that gets the adapter: its target, block, AV prompt and injection scale."""
    target: str | None = None
    """Default: the target that the pack names."""
    sources: tuple[SourceConfig, ...] = (
        SourceConfig(name="sharegpt", share=0.7),
        SourceConfig(name="desk_sessions", share=0.15),
        SourceConfig(name="installed_packages", share=0.15),
    )
    conversations: dict[Part, int] = Field(
        default_factory=lambda: {Part.TRAIN: 260, Part.CALIBRATE: 32, Part.HELD_OUT: 44}
    )
    """Conversations of each part, over all sources; the requests about tests in `notices.yaml` come on top."""
    words: dict[str, int] = Field(default_factory=lambda: {"user": 30, "assistant": 45})
    """Longest message of each role. Longer ones are cut."""
    two_exchanges: float = Field(default=0.3, ge=0, le=1)
    """Share of conversations with two exchanges; the others have one."""
    responses: int = Field(default=3, ge=1)
    """Response tokens read per answer, beside the two boundary tokens before it."""
    compared_layer: int | None = 16
    """Another block, to compare by a probe."""
    optim: OptimConfig = OptimConfig(samples=1_600, batch=8, micro_batch=8, lr=1e-3, lora_rank=8)
    """Samples are conversations at one token, each told and under its two other notices: 24 rows a step."""
    pair_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss on matched pairs."""
    moved: float = Field(default=4.0, ge=0)
    """Told rows are moved along the direction told minus other by up to this many spreads, at first."""
    moved_until: float = Field(default=0.6, gt=0, le=1)
    """Share of the training after which rows are no longer moved."""
    seed: int = 0
