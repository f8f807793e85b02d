"""A training conversation, and the registry of sources of conversations."""

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
    """Package and version, or a file name."""
    licence: str = "unknown"
    id: str = ""
    """Unique in its source. Empty if every family has one conversation: the family is then the id."""
    prose: bool = True
    """Whether it is natural language throughout, so that the English word test applies."""


TRAINING_SOURCES: Registry[Callable[[Path | None], Iterator[Chat]]] = Registry("training source")
