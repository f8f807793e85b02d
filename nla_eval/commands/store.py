"""`nla-eval store`: looks after a store of readings. Needs no weights."""

from __future__ import annotations

from ..errors import InputError
from ..store.compact import compact
from ..store.store import ReadingStore


def run_compact(url: str, part_mib: int) -> None:
    """Merge small parts, printing what became of each kind."""
    if part_mib < 1:
        raise InputError(f"parts of {part_mib} MiB; expected at least 1")
    for done in compact(ReadingStore.open(url), part_mib << 20):
        merged = f", {done.rows:,} rows merged, {done.duplicates:,} duplicates left out" if done.rows else ""
        print(f"{done.kind}: {done.before} parts -> {done.after}{merged}")
