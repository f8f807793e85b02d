"""`nla-eval store`: maintains, checks and repairs a store of readings. Needs no weights."""

from __future__ import annotations

from ..errors import InputError, StoreError
from ..store.check import StoreCheck, check, repair
from ..store.compact import compact
from ..store.store import ReadingStore


def run_compact(url: str, part_mib: int) -> None:
    """Merge small parts, and print the result for each kind of part."""
    if part_mib < 1:
        raise InputError(f"--part-mib is {part_mib}; expected at least 1")
    for done in compact(ReadingStore.open(url), part_mib << 20):
        merged = f", {done.rows:,} rows merged, {done.duplicates:,} duplicates left out" if done.rows else ""
        print(f"{done.kind}: {done.before} parts -> {done.after}{merged}")


def run_check(url: str) -> None:
    """Print what the store holds and what is damaged.

    Raises:
        StoreError: Something is damaged; the line ends in the command that repairs it.
    """
    found = check(url)
    _print(found)
    if not found.sound:
        raise StoreError(f"store '{url}' is damaged as listed; nothing was changed; run: nla-eval store repair {url}")


def run_repair(url: str) -> None:
    """Repair the store, and print what was done and what to run next."""
    done = repair(url)
    _print(done.before)
    if done.before.sound:
        print("nothing to repair")
        return
    for path in done.aside:
        print(f"set aside: {path}")
    for name in done.rewritten:
        print(f"written anew: {name}")
    if done.aside:
        print("next: run the same nla-eval read again; it makes what was lost with these parts and nothing else")


def _print(found: StoreCheck) -> None:
    print(f"store {found.url}")
    for kind in found.kinds:
        repeats = kind.rows - kind.distinct
        again = f", {repeats:,} repeats" if repeats else ""
        print(f"  {kind.kind}: {kind.parts} parts ({kind.sealed} with a checksum), {kind.rows:,} rows{again}")
    for fault in found.faults:
        print(f"  damaged: {fault.kind}/{fault.name}: {fault.reason}")
    for trouble in found.files:
        print(f"  damaged: {trouble}")
    for note in found.notes:
        print(f"  note: {note}")
    if found.sound:
        print("  sound")
