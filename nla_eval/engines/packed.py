"""Products of few rows with prepacked weights, float32 or bfloat16 on the CPU.

A stock linear layer rearranges its weights for the processor at every call, which for a dozen rows costs more than the
product. Here oneDNN's arrangement is made once; inputs of many rows take the stock path."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

FEW_ROWS = 160
"""Up to this many rows the packed product is the faster one. On one core, weights of 576 x 1536, in GFLOP/s, packed and
stock: 54 and 29 at 14 rows, 66 and 55 at 64, 74 and 67 at 108, 78 and 76 at 216, 82 and 83 at 432. With
bfloat16 in hardware (Zen 4), beside other work: 109 and 48 at 8 rows, 117 and 69 at 20, 146 and 105 at 48."""
_MOST_BYTES = 2**30
"""Weights are held twice; models with more than this keep the stock path."""


def pack_linears(model: Any) -> int:
    """Let the linear layers of `model` use packed weights for up to FEW_ROWS rows; returns how many do.

    Does nothing for float16, for bfloat16 that oneDNN cannot multiply on this processor, for other devices, for large
    models, and where torch was built without oneDNN. Where weights change afterwards, call it again: until then few
    rows see the former ones.

    Args:
        model: In eval mode, adapters merged.
    """
    linears = [module for module in model.modules() if type(module) is nn.Linear and _packable(module)]
    size = sum(linear.weight.numel() * linear.weight.element_size() for linear in linears)
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if size > _MOST_BYTES or not available:
        return 0
    for linear in linears:
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), FEW_ROWS)
        linear.forward = partial(_forward, linear, packed)  # type: ignore[method-assign]
    return len(linears)


def _packable(linear: nn.Linear) -> bool:
    dtype, device = linear.weight.dtype, linear.weight.device.type
    known = dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device == "cpu" and known


def _forward(linear: nn.Linear, packed: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(..., in) -> (..., out), as `linear` itself gives it up to rounding."""
    if rows.numel() > FEW_ROWS * rows.shape[-1] or rows.dtype is not packed.dtype or torch.is_grad_enabled():
        return nn.functional.linear(rows, linear.weight, linear.bias)
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, linear.bias, "none", [], "")
    return out
