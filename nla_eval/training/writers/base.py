"""The protocol of a writer. In: positions. Out: one explanation per position, in order. A writer states its cost before
it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ...registry import Registry
from ..config import TrainConfig
from ..explanations.explain import Moment, Vocabulary


@dataclass(frozen=True)
class Request:
    """One position to be explained."""

    row: int
    """Row number in the corpus frame."""
    position: int
    moment: Moment
    captured: int = 0
    """Index of its activation among all captured ones."""
    held_out: bool = False
    """Whether its conversation is held out: nothing is fitted on it."""


@dataclass(frozen=True)
class Written:
    """An explanation, or the reason why there is none."""

    text: str | None
    reason: str = ""
    """If `text` is None: a short phrase. Dropped positions are counted by reason."""


@dataclass(frozen=True)
class WriterContext:
    """What a writer may use in addition to the positions."""

    config: TrainConfig
    vocabulary: Callable[[], Vocabulary]
    """Built on first use."""
    activations: Callable[[], torch.Tensor]
    """(N, d_model) raw, of all captured positions, in the order of `Request.captured`."""
    cache: Path
    """Folder of the run for cached answers."""


class Writer(Protocol):
    """Writes explanations. It sees the text up to each position and the target's predictions there, no later text."""

    def cost(self, requests: Sequence[Request]) -> str:
        """One line on the cost of these requests, shown before writing starts."""
        ...

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One result per request, in order. Raises NlaEvalError if nothing can be written."""
        ...


WRITERS: Registry[Callable[[WriterContext], Writer]] = Registry("writer")
