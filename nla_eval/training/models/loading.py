"""Loading options of a model in training: dtype of frozen weights and arithmetic, attention, and whether this process
reads weights. Trained weights stay float32. Loads nothing itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from ...models.dtypes import torch_dtype
from ..config import HardwareConfig


def dtype_of(hardware: HardwareConfig) -> torch.dtype:
    """dtype of frozen weights and arithmetic. "auto" is resolved for the device."""
    return torch_dtype(hardware.dtype, hardware.device)


@dataclass(frozen=True)
class Loading:
    """Loading options of one model."""

    dtype: torch.dtype = torch.float32
    """dtype of frozen weights and arithmetic."""
    attention: str = "eager"
    trust: bool = False
    """Run code that comes with the checkpoint."""
    empty: bool = False
    """Build without weights, on torch's meta device; another process sends them (`group.placed`)."""

    def weights(self, rank: int) -> torch.dtype:
        """dtype of the target's weights. Trained weights are float32: at the learning rates of full fine-tuning, an
        AdamW update is smaller than bf16 rounding."""
        return self.dtype if rank else torch.float32

    def arithmetic(self, rank: int, device: torch.device) -> AbstractContextManager[object]:
        """Context manager in which float32 weights are multiplied in `dtype`. With adapters it does nothing: frozen
        weights are already in `dtype`, and PEFT computes adapters in float32."""
        return torch.autocast(device.type, self.dtype, enabled=not rank and self.dtype is not torch.float32)
