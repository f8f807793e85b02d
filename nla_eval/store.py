"""The store: readings, transcripts, messages and activations as parquet parts on disk or object store, read by polars.

A part is written under a temporary name and renamed, so a half-written one is never seen; part names are unique, so
several writers may share a store. `store.json` says at creation what the store holds; `manifest.json` is written last.
It does not know how readings are made or judged."""

from __future__ import annotations

import io
import json
import os
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import fsspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import StoreError
from .readings import KEY, SCHEMA, Reading, StopReason

FORMAT = 1
TRANSCRIPT_SCHEMA: dict[str, pl.DataType] = {
    "transcript_digest": pl.String(),
    "transcript_id": pl.String(),
    "suite": pl.String(),
    "arm": pl.String(),
    "family": pl.String(),
    "variant": pl.String(),
    "outcome": pl.String(),
    "on_policy": pl.Boolean(),
    "planned_positions": pl.Int64(),
    "tokens": pl.Int64(),
    "turns": pl.Int64(),
    "tool_calls": pl.Int64(),
    "lost_tokens": pl.Int64(),
    "replay_notes": pl.List(pl.String()),
}
"""Polars dtypes of the transcripts frame, in column order: `TranscriptRow`'s fields."""

_IDENTITY, _MANIFEST, _TEMPORARY = "store.json", "manifest.json", ".tmp-"
_KINDS = ("readings", "transcripts", "messages", "activations")
_MESSAGES: dict[str, pl.DataType] = {"transcript_digest": pl.String(), "messages": pl.String()}
_FLOAT16_MAX = float(np.finfo(np.float16).max)

ReadingKey = tuple[str, int, str, int]
"""(transcript_digest, position, lane, draw): `readings.KEY` within one store, which holds one pack."""


class TranscriptRow(BaseModel):
    """What tallies need to know of one transcript that was planned for reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transcript_digest: str
    transcript_id: str
    suite: str
    arm: str
    family: str
    variant: str | None = None
    outcome: str | None = None
    on_policy: bool = False
    planned_positions: int = 0
    """Positions the policy chose; 0 when the transcript could not be prepared."""
    tokens: int = 0
    """Tokens kept by the window."""
    turns: int = 0
    """User turns."""
    tool_calls: int = 0
    lost_tokens: int = 0
    """Tokens beyond the target's context."""
    replay_notes: list[str] = Field(default_factory=list)


class StoreIdentity(BaseModel):
    """What a store holds. Two runs share a store only when every field is equal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    pack: str
    """Pack id."""
    target: str
    """Target hash."""
    layer: int
    d_model: int
    policy: str
    seed: int
    temperature: float
    max_new_tokens: int
    activations: Literal["float32", "float16", "none"] = "float32"
    """How activations are kept."""


class Manifest(BaseModel):
    """Written when a run ends: the parts it covers, and where they came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: StoreIdentity
    provenance: dict[str, str] = Field(default_factory=dict)
    """Package versions, devices, dtypes, the command."""
    parts: dict[str, list[str]] = Field(default_factory=dict)
    """Part file names by kind."""


@dataclass(frozen=True)
class StoredActivations:
    """Activations of one transcript."""

    positions: NDArray[np.int64]
    """(P,) ascending."""
    activations: NDArray[np.float32]
    """(P, d_model), as they come back from the store's dtype."""


class ReadingStore:
    """One folder (or fsspec URL) of readings made with one pack under one plan. Make with `create` or `open`."""

    def __init__(self, url: str, identity: StoreIdentity) -> None:
        self.url = url
        self.identity = identity
        self._fs, self._root = _filesystem(url)

    @classmethod
    def create(cls, url: str, identity: StoreIdentity) -> ReadingStore:
        """Open the store at `url` for this plan, making it when there is none.

        Raises:
            StoreError: It belongs to another pack, target, plan or format.
        """
        fs, root = _filesystem(url)
        if _read_json(fs, f"{root}/{_IDENTITY}", url) is None:
            _write_atomically(fs, f"{root}/{_IDENTITY}", identity.model_dump_json(indent=2).encode())
        store = cls.open(url)
        _refuse_other(url, found=store.identity, asked=identity)
        return store

    @classmethod
    def open(cls, url: str) -> ReadingStore:
        """Open an existing store.

        Raises:
            StoreError: There is none, or it was written in another format.
        """
        fs, root = _filesystem(url)
        data = _read_json(fs, f"{root}/{_IDENTITY}", url)
        if data is None:
            raise StoreError(f"no store of readings at '{url}'; make one with: nla-eval read SOURCE --out {url}")
        if data.get("format") != FORMAT:
            raise StoreError(
                f"store '{url}' has format {data.get('format')}, this nla_eval reads format {FORMAT}; "
                "read the transcripts again into a new folder"
            )
        try:
            return cls(url, StoreIdentity.model_validate(data))
        except ValidationError as err:
            field = ".".join(str(part) for part in err.errors()[0]["loc"])
            raise StoreError(
                f"store '{url}': field '{field}' of {_IDENTITY} is not valid; read again into a new folder"
            ) from err

    def append(self, readings: Sequence[Reading]) -> None:
        """Add readings as one part. Raises StoreError when one belongs to another pack."""
        foreign = {r.pack for r in readings} - {self.identity.pack}
        if foreign:
            raise StoreError(f"store '{self.url}' holds pack '{self.identity.pack}', not '{min(foreign)}'")
        if readings:
            rows = [_clean(reading.model_dump(mode="json")) for reading in readings]
            self._write_part("readings", pl.DataFrame(rows, schema=SCHEMA))

    def append_transcripts(self, rows: Sequence[TranscriptRow]) -> None:
        """Add rows of the transcripts frame that are not there yet, as one part."""
        known = {json.dumps(row, sort_keys=True) for row in self.transcripts().to_dicts()}
        dumped = [_clean(row.model_dump(mode="json")) for row in rows]
        new = [row for row in dumped if json.dumps(row, sort_keys=True) not in known]
        if new:
            self._write_part("transcripts", pl.DataFrame(new, schema=TRANSCRIPT_SCHEMA))

    def append_messages(self, batch: Mapping[str, str]) -> None:
        """Add conversations (JSON lists of chat messages, by transcript digest) as one part, so that what the model
        said can be judged from the store alone. Those that are there already are left out."""
        known = set(self._frame("messages", {"transcript_digest": pl.String()})["transcript_digest"])
        new = {digest: text for digest, text in batch.items() if digest not in known}
        if new:
            rows = {"transcript_digest": list(new), "messages": list(new.values())}
            self._write_part("messages", pl.DataFrame(rows, schema=_MESSAGES))

    def append_activations(self, batch: Mapping[str, StoredActivations]) -> None:
        """Add activations by transcript digest as one part. No effect in a store that keeps none.

        Raises:
            StoreError: A value does not fit float16.
        """
        if self.identity.activations == "none" or not batch:
            return
        frames = [
            pl.DataFrame(
                {"transcript_digest": [digest] * len(stored.positions), "position": stored.positions}
            ).with_columns(pl.Series("activation", self._to_disk(stored.activations), dtype=self._activation_dtype()))
            for digest, stored in batch.items()
            if len(stored.positions)
        ]
        if frames:
            self._write_part("activations", pl.concat(frames))

    def rounded(self, activations: NDArray[np.float32]) -> NDArray[np.float32]:
        """`activations` as they would come back from this store, so that a resumed run sees the same values."""
        if self.identity.activations != "float16":
            return activations
        return self._to_disk(activations).astype(np.float32)

    def keys(self, *, errors: bool = True) -> set[ReadingKey]:
        """Keys of the readings present; with `errors=False` without those that failed, so that they are read again."""
        frame = self._frame("readings", {**{k: SCHEMA[k] for k in KEY}, "stop": SCHEMA["stop"]})
        if not errors:
            frame = frame.filter(pl.col("stop") != StopReason.ERROR.value)
        return set(frame.select("transcript_digest", "position", "lane", "draw").iter_rows())

    def readings(self) -> pl.DataFrame:
        """All readings, one row per key, in key order.

        Of rows with equal keys one that did not fail is kept, then the smallest by its other columns: the same one
        whatever the order of parts. The ERROR row of a whole transcript (position -1) goes once it has been read.
        """
        failed = pl.col("stop") == StopReason.ERROR.value
        rest = [column for column in SCHEMA if column not in KEY]
        frame = (
            self._frame("readings", SCHEMA)
            .with_columns(failed=failed)
            .sort([*KEY, "failed", *rest], nulls_last=True)
            .unique(subset=list(KEY), keep="first", maintain_order=True)
        )
        drawn = pl.col("stop").is_in([StopReason.CLOSED.value, StopReason.TRUNCATED.value])
        mended = (pl.col("position") == -1) & drawn.any().over("transcript_digest")
        return frame.filter(~mended).select(list(SCHEMA))

    def transcripts(self) -> pl.DataFrame:
        """One row per transcript digest, in digest order: the latest row whose transcript could be prepared."""
        frame = self._frame("transcripts", TRANSCRIPT_SCHEMA).with_row_index("order")
        prepared = pl.col("planned_positions") > 0
        return (
            frame.with_columns(prepared=prepared)
            .sort("transcript_digest", "prepared", "order")
            .unique(subset=["transcript_digest"], keep="last", maintain_order=True)
            .select(list(TRANSCRIPT_SCHEMA))
        )

    def messages(self) -> dict[str, str]:
        """Conversations by transcript digest, as JSON lists of chat messages."""
        frame = self._frame("messages", _MESSAGES).unique("transcript_digest", keep="first", maintain_order=True)
        return dict(frame.sort("transcript_digest").iter_rows())

    def activations(self, digests: Collection[str] | None = None) -> dict[str, StoredActivations]:
        """Stored activations by transcript digest; of all transcripts or of those named."""
        if self.identity.activations == "none":
            return {}
        schema: dict[str, pl.DataType] = {
            "transcript_digest": pl.String(),
            "position": pl.Int64(),
            "activation": self._activation_dtype(),
        }
        frame = self._frame("activations", schema)
        if digests is not None:
            frame = frame.filter(pl.col("transcript_digest").is_in(list(digests)))
        frame = frame.unique(subset=["transcript_digest", "position"], keep="first", maintain_order=True)
        return {
            str(digest): StoredActivations(
                rows["position"].to_numpy().astype(np.int64), rows["activation"].to_numpy().astype(np.float32)
            )
            for (digest,), rows in frame.sort("transcript_digest", "position").group_by(
                ["transcript_digest"], maintain_order=True
            )
        }

    def finish(self, provenance: Mapping[str, str]) -> Manifest:
        """Write the manifest: from here on the store is complete as far as the parts it lists."""
        manifest = Manifest(
            identity=self.identity,
            provenance=dict(sorted(provenance.items())),
            parts={kind: [path.rsplit("/", 1)[-1] for path in self._parts(kind)] for kind in _KINDS},
        )
        _write_atomically(self._fs, f"{self._root}/{_MANIFEST}", manifest.model_dump_json(indent=2).encode())
        return manifest

    @property
    def manifest(self) -> Manifest | None:
        """The last finished run's manifest, or None while none has finished."""
        data = _read_json(self._fs, f"{self._root}/{_MANIFEST}", self.url)
        return None if data is None else Manifest.model_validate(data)

    @property
    def complete(self) -> bool:
        """True when a run finished and no part of readings came after it."""
        manifest = self.manifest
        if manifest is None:
            return False
        listed = set(manifest.parts.get("readings", []))
        return all(path.rsplit("/", 1)[-1] in listed for path in self._parts("readings"))

    def _activation_dtype(self) -> pl.DataType:
        number = pl.Float16() if self.identity.activations == "float16" else pl.Float32()
        return pl.Array(number, self.identity.d_model)

    def _to_disk(self, activations: NDArray[np.float32]) -> NDArray[Any]:
        if self.identity.activations != "float16":
            return np.ascontiguousarray(activations, dtype=np.float32)
        largest = float(np.abs(activations).max(initial=0.0))
        if largest > _FLOAT16_MAX:
            raise StoreError(f"an activation of {largest:.3g} does not fit float16; store activations as float32")
        return activations.astype(np.float16)

    def _parts(self, kind: str) -> list[str]:
        return _list_parts(self._fs, f"{self._root}/{kind}")

    def _write_part(self, kind: str, frame: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}.parquet"
        _write_atomically(self._fs, f"{self._root}/{kind}/{name}", buffer.getvalue())

    def _frame(self, kind: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        frames = [self._read_part(path, schema) for path in self._parts(kind)]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict(schema))

    def _read_part(self, path: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        try:
            with self._fs.open(path, "rb") as file:
                frame = pl.read_parquet(io.BytesIO(file.read()), columns=list(schema))
        except (pl.exceptions.PolarsError, OSError) as err:
            reason = str(err).splitlines()[0] if str(err) else type(err).__name__
            raise StoreError(f"part '{path}' cannot be read ({reason}); delete it and run again to resume") from err
        return frame.select(list(schema)).cast(pl.Schema(schema))


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as err:
        raise StoreError(f"store '{url}' cannot be opened: {str(err).splitlines()[0]}") from err
    return fs, str(root).rstrip("/")


def _list_parts(fs: Any, folder: str) -> list[str]:
    fs.invalidate_cache(folder)
    try:
        names = fs.ls(folder, detail=False)
    except FileNotFoundError:
        return []
    return sorted(str(name) for name in names if _is_part(str(name).rsplit("/", 1)[-1]))


def _is_part(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(_TEMPORARY)


def _write_atomically(fs: Any, path: str, data: bytes) -> None:
    folder, name = path.rsplit("/", 1)
    temporary = f"{folder}/{_TEMPORARY}{uuid.uuid4().hex}"
    try:
        fs.makedirs(folder, exist_ok=True)
        with fs.open(temporary, "wb") as file:
            file.write(data)
            if "file" in _protocols(fs):
                file.flush()
                os.fsync(file.fileno())
        if "file" in _protocols(fs):
            # LocalFileSystem.mv goes through shutil, which copies where rename fails; replace is atomic or an error.
            os.replace(temporary, path)
        else:
            fs.mv(temporary, path)
    except OSError as err:
        raise StoreError(f"store cannot write '{folder}/{name}': {err.strerror or err}") from err


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _read_json(fs: Any, path: str, url: str) -> dict[str, Any] | None:
    try:
        with fs.open(path, "rb") as file:
            data = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as err:
        raise StoreError(f"store '{url}': {path.rsplit('/', 1)[-1]} cannot be read; read again elsewhere") from err
    if not isinstance(data, dict):
        raise StoreError(f"store '{url}': {path.rsplit('/', 1)[-1]} is not a JSON object; read again elsewhere")
    return data


def _refuse_other(url: str, *, found: StoreIdentity, asked: StoreIdentity) -> None:
    for field in StoreIdentity.model_fields:
        was, now = getattr(found, field), getattr(asked, field)
        if was != now:
            raise StoreError(
                f"store '{url}' was made with {field} {was!r}, this run has {now!r}; "
                f"give a new folder with --out, or run with the store's {field}"
            )


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    """Lone surrogates cannot be written as UTF-8; a transcript may hold some."""
    return {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in row.items()}
