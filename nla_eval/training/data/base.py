"""A conversation to train on, and the registry of where conversations come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inspect_ai.model import ChatMessage

from ...registry import Registry


@dataclass(frozen=True)
class Chat:
    """One conversation to train on."""

    family: str
    messages: list[ChatMessage]
    source: str
    """Package and version, or a file's name."""
    licence: str = "unknown"
    id: str = ""
    """Unique in its source; the family where there is one conversation of each."""
    prose: bool = True
    """Whether it is in a natural language throughout, and so can be told to be English by its words."""


TRAINING_SOURCES: Registry[Callable[[Path | None], Iterator[Chat]]] = Registry("training source")
