"""The processes that train one model together. Each takes a share of every batch; gradients are summed over all
processes. With FSDP each process holds only a part of every weight. In: the environment that `torchrun` sets. A single
process works without `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from ...errors import InputError
from ..config import HardwareConfig
from .loading import dtype_of

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Group:
    """This process's place among all processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> Group:
        """The group described by the launcher's environment; this process alone without a launcher."""
        if launched() == 1:
            return cls()
        if not dist.is_initialized():
            from accelerate import PartialState

            PartialState(cpu=not torch.cuda.is_available())
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, rows: Sequence[T]) -> list[T]:
        """This process's share of `rows`: every `size`-th one."""
        return list(rows[self.rank :: self.size])

    def gathered(self, rows: Sequence[T]) -> list[T]:
        """The inverse of `share`: the results of all processes, in the original order of the rows."""
        if self.size == 1:
            return list(rows)
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, list(rows))
        return [part[i] for i in range(len(parts[0])) for part in parts if i < len(part)]

    def agreed(self, mine: bool) -> bool:
        """The first process's value of `mine`."""
        return bool(self.total(float(mine and self.rank == 0)))

    def total(self, value: float) -> float:
        """The sum over all processes."""
        return float(self.summed([torch.tensor(value, dtype=torch.float64)])[0])

    def summed(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Each tensor summed over all processes, in one message. All tensors must share dtype and device."""
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([t.reshape(-1) for t in tensors])
        held = flat.to("cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(held)
        parts = torch.split(held.to(flat.device), [t.numel() for t in tensors])
        return [part.view_as(t) for part, t in zip(parts, tensors, strict=True)]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over all processes. FSDP has already averaged the gradients of sharded weights."""
        if self.size == 1:
            return
        for parameter in parameters:
            if isinstance(parameter.grad, DTensor):
                parameter.grad.mul_(self.size)
            elif parameter.grad is not None:
                dist.all_reduce(parameter.grad)


def launched() -> int:
    """Number of processes that `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def reads_weights(hardware: HardwareConfig) -> bool:
    """Whether this process reads checkpoints. With sharded weights only the first process reads them and sends the
    others their parts, so the node holds one copy in memory instead of one per process."""
    return hardware.sharding != "fsdp" or launched() == 1 or Group.joined().rank == 0


def placed(model: nn.Module, blocks: Sequence[nn.Module], hardware: HardwareConfig) -> None:
    """Move a model to its training device or devices, in place.

    Args:
        model: AR or AV. Its weights are on the CPU, or on the meta device if `reads_weights` is False.
        blocks: Its transformer blocks, which FSDP shards and gathers one by one.
        hardware: Device, dtype and sharding.

    Raises:
        InputError: FSDP without a launcher.
    """
    if hardware.sharding == "fsdp":
        if launched() == 1:
            raise InputError(
                "hardware.sharding is fsdp: start this stage with torchrun --nproc-per-node N -m nla_eval train"
            )
        _shard(model, blocks, hardware)
    elif hardware.device == "cuda":
        model.to(_device(hardware))


def _shard(model: nn.Module, blocks: Sequence[nn.Module], hardware: HardwareConfig) -> None:
    """Shard with FSDP 2: first on the meta device, then the first process sends the weights one by one."""
    first = Group.joined().rank == 0
    weights: dict[str, Any] = model.state_dict() if first else {}
    buffers = dict(model.named_buffers())
    mixed: dict[str, Any] = {}
    if dtype_of(hardware) is torch.bfloat16 and all(p.requires_grad for p in model.parameters()):
        mixed = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32}
    model.to("meta")
    _tie(model)
    for block in blocks:
        fully_shard(block, mp_policy=MixedPrecisionPolicy(**mixed))
    fully_shard(model, mp_policy=MixedPrecisionPolicy(**mixed, cast_forward_inputs=False))
    whole_from_first = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, weights, options=whole_from_first)
    _tie(model)
    for name, buffer in buffers.items():
        sent = buffer.to(_device(hardware)) if first else torch.empty_like(buffer, device=_device(hardware))
        dist.broadcast(sent, 0)
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner)._buffers[leaf] = sent


def _tie(model: nn.Module) -> None:
    """Tie output and input embeddings again if they were tied: moving to the meta device separates them."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.tie_weights()


def _device(hardware: HardwareConfig) -> torch.device:
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if hardware.device == "cuda" else _CPU


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor on the CPU, gathered from all processes if it is sharded. Every process must call this."""
    full: Any = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return torch.as_tensor(full.detach().cpu().contiguous())


def part_of(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's part of `tensor`, sharded as `like` and on its device."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)
