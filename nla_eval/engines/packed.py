"""Linear layers with prepacked weights for inputs of few rows, in float32 or bfloat16 on the CPU.

A stock linear layer rearranges its weights for the processor at every call; for a dozen rows this costs more than the
product. Here oneDNN's arrangement is made once. Inputs of many rows take the stock path, unless its weights are dropped
to save memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

FEW_ROWS = 160
"""Up to this many rows the packed product is faster. Measured on one core with weights of 576 x 1536, in GFLOP/s,
packed and stock: 54 and 29 at 14 rows, 66 and 55 at 64, 74 and 67 at 108, 78 and 76 at 216, 82 and 83 at 432. With
bfloat16 in hardware (Zen 4), on a busy machine: 109 and 48 at 8 rows, 117 and 69 at 20, 146 and 105 at 48."""
_MOST_BYTES = 2**30
"""Packed weights are held in addition to the stock ones, so models with more than this keep the stock path."""


def pack_linears(model: Any, *, drop: bool = False) -> int:
    """Make the linear layers of `model` use packed weights for up to FEW_ROWS rows. Returns the number of such layers.

    With `drop` they use packed weights for any number of rows, and their stock weights are freed, except those of the
    head, which may be the embedding's. Large products are as fast as stock ones: 66 and 63 GFLOP/s at 1,024 rows, 61
    and 63 at 2,048, one core with AVX2, means over the four shapes of a block.

    Does nothing for float16, for bfloat16 if oneDNN cannot multiply it on this processor, on other devices, for large
    models, and if torch was built without oneDNN. Call it again after weights change; until then, inputs of few rows
    use the old weights.

    Args:
        model: A model in eval mode, with adapters merged.
        drop: Whether the weights never change and only inference is run.
    """
    linears = [module for module in model.modules() if type(module) is nn.Linear and _packable(module)]
    size = sum(linear.weight.numel() * linear.weight.element_size() for linear in linears)
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if size > _MOST_BYTES or not available:
        return 0
    for linear in linears:
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), FEW_ROWS)
        forward = partial(_packed, linear, packed) if drop else partial(_forward, linear, packed)
        linear.forward = forward  # type: ignore[method-assign]
    if drop:
        kept = {id(weight) for weight in _heads(model)}
        for linear in linears:
            if id(linear.weight) not in kept:
                linear.weight = None  # type: ignore[assignment]
    return len(linears)


def _heads(model: Any) -> list[Any]:
    """Weights that more than its layer uses: the head's and the embedding's."""
    layers = (getattr(model, f"get_{side}_embeddings", lambda: None)() for side in ("input", "output"))
    return [layer.weight for layer in layers if layer is not None]


def _packable(linear: nn.Linear) -> bool:
    dtype, device = linear.weight.dtype, linear.weight.device.type
    known = dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device == "cpu" and known


def _forward(linear: nn.Linear, packed: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(..., in) -> (..., out), equal to `linear` up to rounding."""
    if rows.numel() > FEW_ROWS * rows.shape[-1] or rows.dtype is not packed.dtype or torch.is_grad_enabled():
        return nn.functional.linear(rows, linear.weight, linear.bias)
    return _packed(linear, packed, rows)


def _packed(linear: nn.Linear, packed: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, linear.bias, "none", [], "")
    return out
