"""`nla-eval store`: maintains a store of readings. Needs no weights."""

from __future__ import annotations

from ..errors import InputError
from ..store.compact import compact
from ..store.store import ReadingStore


def run_compact(url: str, part_mib: int) -> None:
    """Merge small parts, and print the result for each kind of part."""
    if part_mib < 1:
        raise InputError(f"--part-mib is {part_mib}; expected at least 1")
    for done in compact(ReadingStore.open(url), part_mib << 20):
        merged = f", {done.rows:,} rows merged, {done.duplicates:,} duplicates left out" if done.rows else ""
        print(f"{done.kind}: {done.before} parts -> {done.after}{merged}")
