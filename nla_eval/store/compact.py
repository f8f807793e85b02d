"""Compaction: merges the small parts of a store into few large ones, while others read and write it.

In: a store. Out: the same rows in fewer parts, one row per key. Only parts listed at the start are merged. A merged
part is complete before the parts it replaces are removed. If compaction is killed, the store stays valid: rows that
exist in two parts are deduplicated by key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from ..errors import InputError
from .files import Part, PartGoneError
from .rows import KINDS, resolved
from .store import ReadingStore

PART_BYTES = 64 << 20
"""Size of merged parts on disk, roughly. Parts of at least half this size are not merged."""


@dataclass(frozen=True)
class Compacted:
    """Result for one kind of rows."""

    kind: str
    before: int
    """Number of parts at the start."""
    after: int
    """Number of parts at the end, without parts written meanwhile by others."""
    rows: int
    """Rows in the merged parts."""
    duplicates: int
    """Rows dropped because another row of the same key was kept."""


def compact(store: ReadingStore, part_bytes: int = PART_BYTES) -> list[Compacted]:
    """Merge small parts of every kind.

    Args:
        store: The store. Other processes may read and write it meanwhile.
        part_bytes: Size of merged parts, roughly.

    Raises:
        InputError: `part_bytes` is not positive.
        StoreError: The store cannot be read or written.
    """
    if part_bytes < 1:
        raise InputError(f"part size is {part_bytes} bytes; expected at least 1")
    return [_compact_kind(store, kind, part_bytes) for kind in KINDS]


def runs_of(parts: Sequence[Part], part_bytes: int) -> list[list[Part]]:
    """Groups of neighbouring small parts to merge: at least two parts, together not much above `part_bytes`."""
    runs: list[list[Part]] = [[]]
    for part in parts:
        full = sum(p.size for p in runs[-1]) + part.size > part_bytes
        if part.size * 2 >= part_bytes or full:
            runs.append([])
        if part.size * 2 < part_bytes:
            runs[-1].append(part)
    return [run for run in runs if len(run) > 1]


def _compact_kind(store: ReadingStore, kind: str, part_bytes: int) -> Compacted:
    listed = store.files.parts(kind)
    runs = runs_of(listed, part_bytes)
    kept = duplicates = merged = 0
    for run in runs:
        found = _rows_of(store, kind, run)
        if found is None:
            continue
        rows = resolved(kind, found)
        _put_instead(store, kind, run, rows)
        kept, duplicates, merged = kept + rows.height, duplicates + found.height - rows.height, merged + len(run) - 1
    store.files.remove_abandoned(kind)
    return Compacted(kind, len(listed), len(listed) - merged, kept, duplicates)


def _rows_of(store: ReadingStore, kind: str, run: Sequence[Part]) -> pl.DataFrame | None:
    """The rows of a run; None if another compaction has already removed one of its parts."""
    try:
        return pl.concat(store.read_parts(kind, run, store.schema_of(kind)))
    except PartGoneError:
        return None


def _put_instead(store: ReadingStore, kind: str, run: Sequence[Part], rows: pl.DataFrame) -> None:
    """Write the merged part, list it in the manifest, then remove the old parts. In this order a finished store stays
    finished throughout."""
    new = store.write_part(kind, rows, after=run[-1])
    names = {part.name for part in run}
    _relist(store, kind, covering=names, add=[new.name], drop=())
    store.files.remove(kind, sorted(names))
    _relist(store, kind, covering=(), add=(), drop=names)


def _relist(
    store: ReadingStore, kind: str, *, covering: Iterable[str], add: Sequence[str], drop: Iterable[str]
) -> None:
    """Change the manifest's list of a kind, if there is a manifest and it lists all of `covering`."""
    manifest = store.manifest
    if manifest is None or not set(covering) <= set(manifest.parts.get(kind, ())):
        return
    names = sorted({*manifest.parts.get(kind, ()), *add} - set(drop))
    if names != manifest.parts.get(kind):
        store.write_manifest(manifest.model_copy(update={"parts": {**manifest.parts, kind: names}}))
