"""The protocol of a writer: positions in, one explanation each out, in order, and what it will cost before it
starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...registry import Registry
from ..config import TrainConfig
from ..explanations.explain import Moment, Vocabulary


@dataclass(frozen=True)
class Request:
    """One position to be explained."""

    row: int
    """Of the corpus frame."""
    position: int
    moment: Moment


@dataclass(frozen=True)
class Written:
    """An explanation, or why there is none."""

    text: str | None
    reason: str = ""
    """One short phrase where `text` is None: positions are dropped and counted by it."""


@dataclass(frozen=True)
class WriterContext:
    """What a writer may use beside the positions."""

    config: TrainConfig
    vocabulary: Callable[[], Vocabulary]
    """Made on first use."""
    cache: Path
    """Folder of the run for answers worth keeping."""


class Writer(Protocol):
    """Writes explanations. It sees the text up to each position and the target's own predictions, nothing behind it."""

    def cost(self, requests: Sequence[Request]) -> str:
        """One line: what writing these will take, shown before it starts."""
        ...

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One per request, in order. Raises NlaEvalError where nothing can be written at all."""
        ...


WRITERS: Registry[Callable[[WriterContext], Writer]] = Registry("writer")
