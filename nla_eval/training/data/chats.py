"""Training text: a registry of sources of conversations. Each yields `Chat`s: a family (the unit that splits are made
by), messages, and where they come from. It knows no tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...sources import SourceOptions, sharegpt
from ...transcript import Arm, Transcript
from ..config import SourceConfig
from .base import TRAINING_SOURCES, Chat


def chats(source: SourceConfig) -> Iterator[Chat]:
    """The conversations of one configured source. Raises InputError when there is no source of that name."""
    from . import packages, sessions  # noqa: F401  (register themselves)

    return TRAINING_SOURCES.get(source.name)(Path(source.path) if source.path else None)


@TRAINING_SOURCES.register("sharegpt")
def conversations(path: Path | None = None) -> Iterator[Chat]:
    """Each real conversation that starts with a user's words and has an answer.

    Pieces of one long conversation stand in the file under ids `family_0`, `family_12`...: later ones begin in the
    middle and are left out.
    """
    for item in sharegpt.read(path, SourceOptions(suite="training", arm=Arm.DEPLOYMENT)):
        if not isinstance(item, Transcript):
            continue
        _, _, piece = item.id.partition("_")
        if piece in ("", "0") and len(item.messages) > 1 and item.messages[0].role == "user":
            yield Chat(item.family, item.messages, item.provenance.source)
