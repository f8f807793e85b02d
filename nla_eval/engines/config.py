"""How the transformers engine runs weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .side_by_side import Split


@dataclass(frozen=True)
class EngineConfig:
    """Nothing here changes a result in fp32 beyond rounding."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    attention: str = "sdpa"
    split: Split | None = None
    """How a CPU's cores are shared among batches; None measures it once the trunk is loaded."""
    batch_tokens: int = 8192
    """Padded tokens of the capture batches that run together."""
    chunk_tokens: int = 8192
    """Longer transcripts are read in chunks with a KV cache, the first one of this many tokens. Within it, causal
    attention needs no mask and skips its upper half."""
    verbalize_batch: int = 432
    """Explanations drawn together, in all batches that run side by side; as some end, others take their places."""
    reconstruct_batch: int = 64
    """Explanations of one batch."""
