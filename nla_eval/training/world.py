"""Processes that train one model together: each takes a share of the groups, gradients are summed over all. In:
accelerate's state, which `torchrun` or `accelerate launch` sets up. One process needs neither."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> World:
        """The world that the launcher's environment describes; on CPUs through gloo. Alone without a launcher."""
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return cls()
        from accelerate import PartialState

        state: Any = PartialState(cpu=not torch.cuda.is_available())
        return cls(state.process_index, state.num_processes)

    def share(self, rows: Sequence[T]) -> list[T]:
        """Every `size`-th of `rows`: this process's part."""
        return list(rows[self.rank :: self.size])

    def summed(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Each tensor summed over all processes, in one message."""
        if self.size == 1:
            return list(tensors)
        from accelerate.utils import reduce

        flat: Any = reduce(torch.cat([t.reshape(-1) for t in tensors]), "sum")
        parts = flat.split([t.numel() for t in tensors])
        return [part.view_as(t) for part, t in zip(parts, tensors, strict=True)]

    def gathered(self, rows: Sequence[T]) -> list[T]:
        """What `share` dealt out, or its image under a map, from all processes in the original order."""
        if self.size == 1:
            return list(rows)
        from accelerate.utils import gather_object

        parts: list[list[T]] = gather_object([list(rows)])
        return [part[i] for i in range(len(parts[0])) for part in parts if i < len(part)]
