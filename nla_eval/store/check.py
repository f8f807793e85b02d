"""Checks every part of a store, and repairs what a disk or a kill has damaged.

In: the URL of a store. Out: what is there and what is wrong. A repair never deletes: it moves damaged parts aside and
writes the two JSON files anew. The readings that are lost with a part are made again by the command that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from pydantic import ValidationError

from ..errors import DamagedError, StoreError
from ..readings import KEY
from .files import StoreFiles, named_checksum
from .rows import FACT_SCHEMA, KINDS, SCORE_KEY
from .store import IDENTITY_FILE, MANIFEST_FILE, Manifest, ReadingStore, StoreIdentity, expect_format

_KEYS: dict[str, list[str]] = {
    "readings": [*KEY],
    "transcripts": ["transcript_digest"],
    "messages": ["transcript_digest"],
    "activations": ["transcript_digest", "position"],
    "facts": [*FACT_SCHEMA],
    "scores": [*SCORE_KEY],
}
"""Columns that make a row of a kind one row."""


@dataclass(frozen=True)
class PartFault:
    """A part that cannot be trusted."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True)
class KindCheck:
    """The parts of one kind of rows."""

    kind: str
    parts: int
    sealed: int
    """Parts whose name carries a checksum that fits. Parts of earlier versions carry none; they are parsed only."""
    rows: int
    """Rows in sound parts, repeats included."""
    distinct: int
    """Distinct keys among them."""


@dataclass(frozen=True)
class StoreCheck:
    """Everything that `check` found."""

    url: str
    kinds: list[KindCheck]
    faults: list[PartFault]
    """Damaged parts."""
    files: list[str]
    """What is wrong with `store.json` and `manifest.json`, one sentence each."""
    notes: list[str]
    """What is no damage but worth knowing: an unfinished run, readings without their transcript."""

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.faults and not self.files


def check(url: str) -> StoreCheck:
    """Read every part of the store at `url` once, compare checksums, parse all rows, and compare the manifest.

    A few parts are in memory at a time, and the keys of one kind.

    Raises:
        StoreError: There is no store, it has another format, or the storage does not answer.
    """
    files = StoreFiles(url)
    identity, troubles = _identity(files)
    if identity is None:
        raise StoreError(
            f"no store of readings can be made out at '{url}': {'; '.join(troubles) or f'{IDENTITY_FILE} is missing'}; "
            "read the transcripts again into a new folder"
        )
    store = ReadingStore(url, identity, files)
    kinds, faults, notes = [], [], []
    keys: dict[str, pl.DataFrame] = {}
    for kind in KINDS:
        found, wrong, keys[kind] = _check_kind(store, kind)
        kinds.append(found)
        faults.extend(wrong)
    manifest, trouble = _manifest(files)
    if trouble:
        troubles.append(trouble)
    elif manifest is None:
        notes.append("no run has finished here: run the same nla-eval read again to go on")
    else:
        lost, new = _against(store, manifest)
        if lost:
            troubles.append(f"{MANIFEST_FILE} lists parts that are gone: {lost}")
        if new:
            notes.append(f"parts of readings newer than the last finished run: {new}")
    notes.extend(_orphans(keys))
    return StoreCheck(url, kinds, faults, troubles, notes)


@dataclass(frozen=True)
class Repaired:
    """What `repair` did."""

    before: StoreCheck
    aside: list[str]
    """Paths of the parts set aside, within the store."""
    rewritten: list[str]
    """JSON files that were written anew."""


def repair(url: str) -> Repaired:
    """Set damaged parts aside and write damaged JSON files anew. Does nothing to a sound store.

    A manifest that lacks parts or cannot be read is written again from the parts that are sound; its provenance is kept
    where it can be read. If parts were set aside, the store counts as unfinished, so that the same `nla-eval read`
    makes the lost readings again.

    Raises:
        StoreError: There is nothing to repair from, or the storage cannot be written.
    """
    before = check(url)
    if before.sound:
        return Repaired(before, [], [])
    files = StoreFiles(url)
    identity, troubles = _identity(files)
    assert identity is not None  # check has raised otherwise
    rewritten = []
    if troubles:
        files.replace(IDENTITY_FILE, identity.model_dump_json(indent=2).encode())
        rewritten.append(IDENTITY_FILE)
    aside = [files.set_aside(fault.kind, fault.name) for fault in before.faults]
    store = ReadingStore(url, identity, files)
    manifest, unreadable = _manifest(files)
    if manifest is not None and (aside or _against(store, manifest)[0]):
        here = {kind: {part.name for part in files.parts(kind)} for kind in KINDS}
        parts = {kind: sorted(here[kind] & {*manifest.parts.get(kind, ())}) for kind in KINDS}
        if aside:  # a run that has lost readings has not finished
            parts["readings"] = []
        store.write_manifest(manifest.model_copy(update={"parts": parts}))
        rewritten.append(MANIFEST_FILE)
    elif unreadable:
        store.finish({"repaired": "the manifest could not be read; provenance of earlier runs is lost"})
        rewritten.append(MANIFEST_FILE)
    return Repaired(before, aside, rewritten)


def _check_kind(store: ReadingStore, kind: str) -> tuple[KindCheck, list[PartFault], pl.DataFrame]:
    """What the parts of a kind hold, which are damaged, and the keys of the sound ones."""
    names = [part.name for part in store.files.parts(kind)]
    faults, sealed, schema = [], 0, store.schema_of(kind)
    keys = [pl.DataFrame(schema={name: schema[name] for name in _KEYS[kind]})]
    for name, data in store.files.read(kind, names):
        try:
            frame = store.parsed(kind, name, data, schema)
        except DamagedError:
            faults.append(PartFault(kind, name, "its bytes have changed"))
        except StoreError:
            faults.append(PartFault(kind, name, "it is no parquet file of its kind"))
        else:
            sealed += named_checksum(name) is not None
            keys.append(frame.select(_KEYS[kind]))
    every = pl.concat(keys)
    return KindCheck(kind, len(names), sealed, every.height, every.n_unique() if every.height else 0), faults, every


def _identity(files: StoreFiles) -> tuple[StoreIdentity | None, list[str]]:
    """What the store holds, from `store.json`, else from the manifest; and what is wrong with `store.json`."""
    data, trouble = None, f"{IDENTITY_FILE} is missing"
    try:
        data = files.read_json(IDENTITY_FILE)
    except DamagedError:
        trouble = f"{IDENTITY_FILE} is damaged"
    if data is not None:
        if "format" in data:
            expect_format(files.url, data["format"])
        try:
            return StoreIdentity.model_validate(data), []
        except ValidationError:
            trouble = f"{IDENTITY_FILE} lacks fields"
    manifest, _ = _manifest(files)
    return (manifest.identity if manifest else None), [trouble]


def _manifest(files: StoreFiles) -> tuple[Manifest | None, str]:
    try:
        data = files.read_json(MANIFEST_FILE)
        return (None if data is None else Manifest.model_validate(data)), ""
    except (DamagedError, ValidationError):
        return None, f"{MANIFEST_FILE} is damaged"


def _against(store: ReadingStore, manifest: Manifest) -> tuple[int, int]:
    """Number of listed parts that are gone, and of parts of readings that are not listed."""
    here = {kind: {part.name for part in store.files.parts(kind)} for kind in KINDS}
    lost = sum(len({*manifest.parts.get(kind, ())} - here[kind]) for kind in KINDS)
    return lost, len(here["readings"] - {*manifest.parts.get("readings", ())})


def _orphans(keys: Mapping[str, pl.DataFrame]) -> list[str]:
    """Transcripts that have readings, but not what a tally needs beside them."""
    held = {kind: set(keys[kind]["transcript_digest"]) for kind in ("readings", "transcripts", "messages")}
    notes = []
    for kind, lost in (("transcripts", "their row"), ("messages", "their messages")):
        if without := len(held["readings"] - held[kind]):
            notes.append(
                f"transcripts with readings but without {lost}: {without}; run the same nla-eval read again, it adds "
                "what is missing"
            )
    return notes
