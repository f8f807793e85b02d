"""Training chats from the `sharegpt` source: whole conversations that a user opened. Yields (family, messages); pieces
of one long conversation share a family, and only its first piece is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inspect_ai.model import ChatMessage

from ..sources import SourceOptions, sharegpt
from ..transcript import Arm, Transcript


def conversations(path: Path | None = None) -> Iterator[tuple[str, list[ChatMessage]]]:
    """(family, messages) of each conversation that starts with a user's words and has an answer.

    Pieces of one long conversation stand in the file under ids `family_0`, `family_12`...: later ones begin in the
    middle and are left out.
    """
    for item in sharegpt.read(path, SourceOptions(suite="training", arm=Arm.DEPLOYMENT)):
        if not isinstance(item, Transcript):
            continue
        _, _, piece = item.id.partition("_")
        if piece in ("", "0") and len(item.messages) > 1 and item.messages[0].role == "user":
            yield item.family, item.messages
