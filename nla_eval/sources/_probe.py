"""What a file looks like from its start: its container, first records (cut ones as far as they go), columns.

Readers decide by a probe whether a file is theirs. `HEAD` bytes are read, and a Parquet file's footer. Where few whole
records stand in them, the look goes on over their shape (`_skim`), so that a large first record is known too."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ._skim import skimmed

HEAD = 1 << 18
_FARTHEST = 1 << 27
"""Bytes after which the end of a record is not looked for."""
_PIECE = 1 << 16
_RECORDS = 20
_ENOUGH = 5
"""Whole records by which a file is known for sure."""
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class Container(StrEnum):
    """What holds the records."""

    LINES = "JSON lines"
    LIST = "a JSON list"
    OBJECT = "a JSON object"
    PARQUET = "Parquet"
    ZIP = "a zip archive"
    EMPTY = "an empty file"
    WIDE = "text in UTF-16 (expected UTF-8)"
    OTHER = "neither JSON, Parquet nor zip"


_OF_RECORDS = (Container.LINES, Container.LIST, Container.OBJECT)


@dataclass(frozen=True)
class Probe:
    """The look of a file."""

    name: str
    container: Container
    records: tuple[dict[str, Any], ...] = ()
    """First records that are objects; the last may be cut."""
    lists: tuple[list[Any], ...] = ()
    """First records that are lists."""
    columns: frozenset[str] = frozenset()
    """Of a Parquet file, else the keys of the first record."""
    member: str = ""
    """Name of a zip archive's first member."""

    @property
    def first(self) -> dict[str, Any]:
        """The first record that is an object; empty where there is none."""
        return self.records[0] if self.records else {}

    @property
    def count(self) -> int:
        """Records that were seen."""
        return len(self.records) + len(self.lists)


def probe(path: Path) -> Probe:
    """The look of the file at `path`. Never raises for what is in it; OSError when it cannot be opened."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    packed = head[:2] == b"\x1f\x8b"
    if packed:
        head = _unzipped(head)
    name = path.name
    if head[:4] == b"PAR1":
        return _of_parquet(path)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        length = int.from_bytes(head[26:28], "little")
        return Probe(name, Container.ZIP, member=head[30 : 30 + length].decode("utf-8", "replace"))
    if head[:2] in _WIDE:
        return Probe(name, Container.WIDE)
    look = _of_text(name, head)
    if len(head) < HEAD or look.count > _ENOUGH or look.container not in _OF_RECORDS:
        return look
    # Damage may hide a record from one look and not from the other. Of two that see as much, the longer one counts.
    return max((_of_text(name, skimmed(_pieces(path, packed), HEAD, _RECORDS)), look), key=lambda found: found.count)


def _of_text(name: str, head: bytes) -> Probe:
    head = head.removeprefix(_BOM)
    start = head.lstrip()
    if not start:
        return Probe(name, Container.EMPTY)
    if start[:1] == b"[":
        return _of(name, Container.LIST, _first_of_list(start))
    lines = list(_whole_lines(start))
    if lines:
        return _of(name, Container.LINES, lines)
    if start[:1] != b"{":
        return Probe(name, Container.OTHER)
    # A first line that goes on beyond what was read is one long record, not an object spread over lines.
    return _of(name, Container.OBJECT if b"\n" in start else Container.LINES, [_partial(start)])


def _of(name: str, container: Container, records: list[Any]) -> Probe:
    objects = tuple(record for record in records if isinstance(record, dict))
    lists = tuple(record for record in records if isinstance(record, list))
    return Probe(name, container, objects, lists, frozenset(map(str, objects[0])) if objects else frozenset())


def _of_parquet(path: Path) -> Probe:
    import pyarrow
    import pyarrow.parquet

    try:
        return Probe(path.name, Container.PARQUET, columns=frozenset(pyarrow.parquet.read_schema(path).names))
    except (pyarrow.ArrowException, OSError, ValueError):
        return Probe(path.name, Container.PARQUET)


def _unzipped(head: bytes) -> bytes:
    """What the start of a gzip file unpacks to, as far as it goes."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error:
        return b""


def _pieces(path: Path, packed: bool) -> Iterator[bytes]:
    """The file's bytes, unpacked, up to damage or the farthest."""
    taken = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            while taken < _FARTHEST and (piece := file.read(_PIECE)):
                taken += len(piece)
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return


def _whole_lines(head: bytes) -> Iterator[dict[str, Any]]:
    """Objects of the first lines that are complete, whatever stands between them."""
    for line in re.split(rb"\r?\n", head)[:_RECORDS]:
        if line[:1] == b"{":
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record


def _first_of_list(head: bytes) -> list[Any]:
    found = _partial(head)
    return found[:_RECORDS] if isinstance(found, list) else []


def _partial(head: bytes) -> Any:
    """The value that `head` begins, as far as it goes."""
    import ijson

    builder = ijson.ObjectBuilder()
    try:
        for event, value in ijson.basic_parse(head, use_float=True):
            builder.event(event, value)
    except (ijson.JSONError, ValueError, OverflowError):  # cut off, or damaged from here on
        pass
    return getattr(builder, "value", None)
