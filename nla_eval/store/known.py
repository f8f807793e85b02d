"""What is already in a store, so that an append writes no transcript or conversation twice.

In: rows as parts are read or written. Out: whether a row is there. It keeps digests and hashes, no rows: a store of
100,000 transcripts is appended to in batches, and each asks again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl


class KnownConversations:
    """The digests of the stored conversations."""

    def __init__(self) -> None:
        self.parts: set[str] = set()
        """Names of the parts that were read."""
        self._digests: set[str] = set()

    def learn(self, part: str, digests: Iterable[str]) -> None:
        """Take in the digests of a part."""
        self._digests.update(digests)
        self.parts.add(part)

    def __contains__(self, digest: object) -> bool:
        return digest in self._digests


class KnownTranscripts:
    """The row that counts of each stored transcript, as a hash: the latest one that could be prepared."""

    def __init__(self) -> None:
        self.parts: set[str] = set()
        """Names of the parts that were read."""
        self._counts: dict[str, tuple[bool, bytes]] = {}

    def learn(self, part: str, rows: pl.DataFrame | Collection[Mapping[str, Any]]) -> None:
        """Take in the rows of a part, in the order of parts."""
        for row in rows.iter_rows(named=True) if isinstance(rows, pl.DataFrame) else rows:
            digest, prepared = row["transcript_digest"], (row["planned_positions"] or 0) > 0
            if prepared or not self._counts.get(digest, (False, b""))[0]:
                self._counts[digest] = prepared, _hash(row)
        self.parts.add(part)

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        known = self._counts.get(row["transcript_digest"])
        return known is not None and known[1] == _hash(row)


def _hash(row: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=16).digest()
