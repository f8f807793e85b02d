"""LoRA of variable strength: the plain target and the organism are the same modules at factor 0 and 1. In: a causal LM.
Out: the same LM with adapters on some blocks; the adapter in PEFT's format."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ...models.adapter import CONFIG, DECLARED, WEIGHTS, Declared
from ..models.optim import LINEARS

_PREFIX = "base_model.model."


class Strength:
    """The factor on the adapter for what runs now; 0 is the plain model."""

    def __init__(self) -> None:
        self.factor = 0.0

    @contextmanager
    def of(self, factor: float) -> Iterator[None]:
        """Run with `factor`."""
        before, self.factor = self.factor, factor
        try:
            yield
        finally:
            self.factor = before


class DosedLinear(nn.Module):
    """A frozen linear layer plus a low-rank change of variable strength."""

    def __init__(self, linear: nn.Linear, rank: int, strength: Strength) -> None:
        super().__init__()
        self.linear, self.strength = linear, strength
        self.lora_A = nn.Parameter(torch.empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, T, in) -> (B, T, out)."""
        out: torch.Tensor = self.linear(rows)
        if self.strength.factor == 0.0:
            return out
        return out + self.strength.factor * ((rows @ self.lora_A.T) @ self.lora_B.T)


def with_dosed_lora(model: Any, first: int, last: int, rank: int, seed: int) -> Strength:
    """Put adapters of `rank` on every linear of blocks `first` to `last` of `model`, in place. Only they are trained.

    Returns the strength that all adapters share."""
    strength = Strength()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for block in model.model.layers[first : last + 1]:
            for parent in (block.self_attn, block.mlp):
                for name, linear in list(parent.named_children()):
                    if name in LINEARS:
                        setattr(parent, name, DosedLinear(linear, rank, strength))
    return strength


def adapter_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The adapter's tensors under PEFT's names, in bfloat16."""
    return {
        f"{_PREFIX}{name}.weight": parameter.detach().to(torch.bfloat16).contiguous()
        for name, parameter in model.named_parameters()
        if name.endswith((".lora_A", ".lora_B"))
    }


def write_adapter(
    folder: Path, tensors: Mapping[str, torch.Tensor], *, base: str, factor: float, declared: Declared
) -> None:
    """Write an adapter in PEFT's format, and what it declares.

    Args:
        tensors: As from `adapter_tensors`.
        base: Name of the model that the adapter belongs to.
        factor: Strength that `lora_alpha` states.
        declared: Hash of the base, and doses relative to that strength.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt"})
    rank = next(len(tensor) for name, tensor in tensors.items() if ".lora_A." in name)
    layers = sorted({int(name.split(".layers.")[1].split(".")[0]) for name in tensors})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": True,
        "r": rank, "lora_alpha": round(rank * factor, 6), "lora_dropout": 0.0, "bias": "none",
        "fan_in_fan_out": False, "use_rslora": False, "use_dora": False,
        "target_modules": list(LINEARS), "layers_to_transform": layers, "layers_pattern": "layers",
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / DECLARED).write_text(declared.model_dump_json(indent=2) + "\n", encoding="utf-8")
