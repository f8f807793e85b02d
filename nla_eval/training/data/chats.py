"""Training text from registered sources. Each source yields `Chat`s: a family (the unit of splits), messages, and their
provenance. It knows no tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...sources import SourceOptions, sharegpt
from ...transcript import Arm, Transcript
from ..config import SourceConfig
from .base import TRAINING_SOURCES, Chat


def chats(source: SourceConfig) -> Iterator[Chat]:
    """The conversations of one configured source. Raises InputError if there is no source of that name."""
    from . import packages, sessions  # noqa: F401  (register themselves)

    return TRAINING_SOURCES.get(source.name)(Path(source.path) if source.path else None)


@TRAINING_SOURCES.register("sharegpt")
def conversations(path: Path | None = None) -> Iterator[Chat]:
    """Each real conversation that starts with a user message and has an answer.

    The file splits long conversations into pieces with ids `family_0`, `family_12`...; only the first piece is used,
    because later ones begin in the middle.
    """
    for item in sharegpt.read(path, SourceOptions(suite="training", arm=Arm.DEPLOYMENT)):
        if not isinstance(item, Transcript):
            continue
        _, _, piece = item.id.partition("_")
        if piece in ("", "0") and len(item.messages) > 1 and item.messages[0].role == "user":
            yield Chat(item.family, item.messages, item.provenance.source)
