"""How a model in training is loaded and computed with: what its frozen weights and its arithmetic are in, what stays
float32, and whether this process reads weights at all. Loads nothing itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from ...models.dtypes import torch_dtype
from ..config import HardwareConfig


def dtype_of(hardware: HardwareConfig) -> torch.dtype:
    """What frozen weights and arithmetic are in; "auto" is settled for the processor at hand."""
    return torch_dtype(hardware.dtype, hardware.device)


@dataclass(frozen=True)
class Loading:
    """Of one model."""

    dtype: torch.dtype = torch.float32
    """Of frozen weights and of arithmetic."""
    attention: str = "eager"
    trust: bool = False
    """Run code that comes with the checkpoint."""
    empty: bool = False
    """Without weights, on torch's meta device: another process sends them (`group.placed`)."""

    def weights(self, rank: int) -> torch.dtype:
        """What the target's weights are loaded in. Trained ones are float32: an update of AdamW at the rates of full
        fine-tuning is smaller than what bf16 rounds away."""
        return self.dtype if rank else torch.float32

    def arithmetic(self, rank: int, device: torch.device) -> AbstractContextManager[object]:
        """Within it float32 weights are multiplied in `dtype`. With adapters nothing is to be done: frozen weights are
        in `dtype` already, and PEFT computes adapters in float32."""
        return torch.autocast(device.type, self.dtype, enabled=not rank and self.dtype is not torch.float32)
