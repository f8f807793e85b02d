"""The AV's weights as a plain causal LM: adapters merged, tensors named as in the target's checkpoint. In: an AV in
training. Out: tensors by name. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear

from .av import Verbalizer
from .optim import base_of

Present = Callable[[], torch.Tensor]
"""Returns the current value of a weight."""


def changing(av: Verbalizer) -> dict[str, Present]:
    """The weights that training changes: all of them, or, with LoRA, the linears that have an adapter."""
    base = base_of(av.lm)
    if not av.rank:
        return {name: partial(torch.Tensor.detach, weight) for name, weight in base.named_parameters()}
    adapted = ((name, module) for name, module in base.named_modules() if isinstance(module, Linear))
    return {f"{name}.weight": partial(_merged, module) for name, module in adapted}


@torch.no_grad()
def plain_weights(av: Verbalizer) -> dict[str, torch.Tensor]:
    """All weights, trained or not, in the dtype of frozen weights."""
    state = base_of(av.lm).state_dict()
    names = {name: name.replace(".base_layer.", ".") for name in state if ".lora_" not in name}
    found = {plain: state[name] for name, plain in names.items()}
    found |= {name: present() for name, present in changing(av).items()}
    return {name: weight.to(av.loading.dtype) for name, weight in found.items()}


def _merged(layer: Any) -> torch.Tensor:
    """A linear's weight plus its adapters, in float32."""
    weight: torch.Tensor = layer.get_base_layer().weight.float()
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter)
    return weight
