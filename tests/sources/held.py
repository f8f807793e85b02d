"""Checks that every reader must pass for any bytes, for the property tests and for fuzzing."""

from __future__ import annotations

import json
from pathlib import Path

from nla_eval.errors import InputError
from nla_eval.sources import SOURCES, Skipped, SourceOptions
from nla_eval.transcript import Transcript


def outcome(reader: str, where: Path | str, options: SourceOptions) -> list[Transcript | Skipped] | None:
    """The items, each checked; None for one clear error."""
    try:
        items = list(SOURCES.get(reader)(where, options))
    except InputError as error:
        if len(str(error).splitlines()) != 1:
            raise
        return None
    for item in items:
        if isinstance(item, Skipped):
            assert len(item.reason.splitlines()) == 1, item
        else:
            assert item.messages
            json.dumps(item.model_dump(mode="json"), ensure_ascii=False).encode()
            assert len(item.digest) == 64
    return items
