"""Settings of the transformers engine."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .side_by_side import Split


@dataclass(frozen=True)
class EngineConfig:
    """Settings of the transformers engine. In fp32 they change results only by rounding."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    attention: str = "sdpa"
    split: Split | None = None
    """How batches share the CPU's cores; None measures the fastest way once the trunk is loaded."""
    batch_tokens: int = 8192
    """Largest number of padded tokens in all capture batches that run together."""
    chunk_tokens: int = 8192
    """Longer transcripts are read in chunks with a KV cache. The first chunk has this many tokens; in it, causal
    attention needs no mask and skips the upper half."""
    verbalize_batch: int | None = None
    """Explanations drawn together, in all batches that run side by side. New ones replace those that end. None: 256 on
    a CPU, where 432 are no faster (29.4 and 29.5 GFLOP/s per core in a whole draw) and hold 1 GB more of keys and
    values; 432 on an accelerator."""
    reconstruct_batch: int = 64
    """Explanations per batch of the AR."""
