"""The store: readings, scores, transcripts, messages and activations as parquet parts, on disk or object store.

Parts appear whole or not at all and have unique names, so several writers may share a store, even during a compaction.
`store.json` is written at creation and says what the store holds; `manifest.json` is written last. This module does not
know how readings are made or judged."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import DamagedError, StoreError
from ..printable import told
from ..readings import KEY, Reading, Score, StopReason
from .files import Part, PartGoneError, StoreFiles, named_checksum, part_checksum
from .known import KnownConversations, KnownTranscripts
from .rows import (
    FACT_SCHEMA,
    KINDS,
    LATER_COLUMNS,
    MESSAGE_SCHEMA,
    SCHEMA,
    SCORE_SCHEMA,
    TRANSCRIPT_SCHEMA,
    ActivationStorage,
    Fact,
    TranscriptRow,
    activation_schema,
    clean,
    from_disk,
    resolved,
    to_disk,
    without_mended,
)

__all__ = [
    "FORMAT",
    "TRANSCRIPT_SCHEMA",
    "ActivationStorage",
    "Fact",
    "Manifest",
    "ReadingKey",
    "ReadingStore",
    "StoreIdentity",
    "StoredActivations",
    "TranscriptRow",
    "reading_key",
]

FORMAT = 1

IDENTITY_FILE, MANIFEST_FILE = "store.json", "manifest.json"
_RELISTINGS = 20
_DIGEST: dict[str, pl.DataType] = {"transcript_digest": pl.String()}

ReadingKey = tuple[str, int, str, int]
"""(transcript_digest, position, lane, draw): `readings.KEY` without the pack, because a store holds one pack."""


def reading_key(reading: Reading) -> ReadingKey:
    """The key of a reading within its store."""
    return reading.transcript_digest, reading.position, reading.lane.value, reading.draw


def expect_format(url: str, found: Any) -> None:
    """Check the format number of a store. Raises StoreError if it is another one."""
    if found != FORMAT:
        raise StoreError(
            f"store '{url}' has format {found}, this nla_eval reads format {FORMAT}; "
            "read the transcripts again into a new folder"
        )


class StoreIdentity(BaseModel):
    """What a store holds. Two runs share a store only if every field is equal.

    Options of a plan keep their names here. An option without a field below is kept as an extra field, so that a new
    option needs no change here. A store without that extra field was made with the option's default.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    format: int = FORMAT
    pack: str
    """Pack id."""
    target: str
    """Target hash."""
    layer: int
    d_model: int
    positions: str
    seed: int
    temperature: float
    max_new_tokens: int
    activations: ActivationStorage = "float32"
    """Dtype in which activations are kept."""
    window: str = "head"
    """What to keep if a transcript exceeds the target's context."""

    @model_validator(mode="before")
    @classmethod
    def _as_once_written(cls, data: Any) -> Any:
        """Accept the names in older stores: `policy` for `positions`, window `whole` for `skip`."""
        if not isinstance(data, Mapping):
            return data
        now = {("positions" if name == "policy" else name): value for name, value in data.items()}
        return {**now, "window": "skip"} if now.get("window") == "whole" else now


class Manifest(BaseModel):
    """Written when a run ends: the finished parts and their provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: StoreIdentity
    provenance: dict[str, str] = Field(default_factory=dict)
    """Package versions, devices, dtypes, the command."""
    parts: dict[str, list[str]] = Field(default_factory=dict)
    """Part file names by kind."""


@dataclass(frozen=True)
class StoredActivations:
    """Stored activations of one transcript."""

    positions: NDArray[np.int64]
    """(P,) ascending."""
    activations: NDArray[np.float32]
    """(P, d_model) float32, after rounding to the store's dtype."""


class ReadingStore:
    """One folder or fsspec URL of readings, made with one pack under one plan. Use `create` or `open`."""

    def __init__(self, url: str, identity: StoreIdentity, files: StoreFiles | None = None) -> None:
        self.url = url
        self.identity = identity
        self.files = files or StoreFiles(url)
        self._transcripts, self._conversations = KnownTranscripts(), KnownConversations()

    @classmethod
    def create(cls, url: str, identity: StoreIdentity) -> ReadingStore:
        """Open the store at `url` for this plan. Creates it if it does not exist.

        Raises:
            StoreError: The store belongs to another pack, target, plan or format.
        """
        if cls.find(url) is None:
            StoreFiles(url).create(IDENTITY_FILE, identity.model_dump_json(indent=2).encode())
        store = cls.open(url)
        store.expect(identity)
        return store

    @classmethod
    def open(cls, url: str) -> ReadingStore:
        """Open an existing store.

        Raises:
            StoreError: There is no store, or it has another format.
        """
        store = cls.find(url)
        if store is None:
            raise StoreError(f"no store of readings at '{url}'; make one with: nla-eval read SOURCE --out {url}")
        return store

    @classmethod
    def find(cls, url: str) -> ReadingStore | None:
        """The store at `url`; None if there is none. Raises StoreError if it has another format."""
        files = StoreFiles(url)
        data = files.read_json(IDENTITY_FILE)
        if data is None:
            return None
        expect_format(url, data.get("format"))
        try:
            return cls(url, StoreIdentity.model_validate(data), files)
        except ValidationError as err:
            name = ".".join(str(part) for part in err.errors()[0]["loc"])
            raise StoreError(
                f"store '{url}': field '{name}' of {IDENTITY_FILE} is not valid; read again into a new folder"
            ) from err

    def expect(self, asked: StoreIdentity) -> None:
        """Check that a plan is this store's. Raises StoreError naming the first field that differs."""
        held, wanted = self.identity.model_dump(), asked.model_dump()
        for name in {**held, **wanted}:
            if held.get(name) != wanted.get(name):
                was, now = (repr(of[name]) if name in of else "at its default" for of in (held, wanted))
                raise StoreError(
                    f"store '{self.url}' was made with {name} {was}, this run has {now}; "
                    f"give a new folder with --out, or run with the store's {name}"
                )

    def append(self, readings: Sequence[Reading]) -> None:
        """Add readings as one part. Raises StoreError if a reading belongs to another pack."""
        foreign = {r.pack for r in readings} - {self.identity.pack}
        if foreign:
            raise StoreError(
                f"store '{self.url}' holds pack '{self.identity.pack}', not '{min(foreign)}'; give a new folder"
            )
        if readings:
            rows = [clean(reading.model_dump(mode="json")) for reading in readings]
            self.write_part("readings", pl.DataFrame(rows, schema=SCHEMA))

    def append_transcripts(self, rows: Sequence[TranscriptRow]) -> None:
        """Add rows of the transcripts frame as one part. Rows already present are skipped."""
        known = self._transcripts
        self._read_new("transcripts", TRANSCRIPT_SCHEMA, known.parts, known.learn)
        new = [row for row in (clean(row.plain()) for row in rows) if row not in known]
        if new:
            known.learn(self.write_part("transcripts", pl.DataFrame(new, schema=TRANSCRIPT_SCHEMA)).name, new)

    def append_messages(self, batch: Mapping[str, str]) -> None:
        """Add conversations as one part, so that turns can be judged from the store alone. Conversations already
        present are skipped.

        Args:
            batch: JSON lists of chat messages, by transcript digest.
        """
        known = self._conversations
        self._read_new(
            "messages", _DIGEST, known.parts, lambda part, rows: known.learn(part, rows["transcript_digest"])
        )
        new = {digest: text for digest, text in batch.items() if digest not in known}
        if new:
            rows = {"transcript_digest": list(new), "messages": list(new.values())}
            known.learn(self.write_part("messages", pl.DataFrame(rows, schema=MESSAGE_SCHEMA)).name, new)

    def append_facts(self, facts: Sequence[Fact]) -> None:
        """Add facts about groups of transcripts as one part. Facts already present are skipped."""
        known = self.facts()
        if new := [fact.model_dump() for fact in facts if fact not in known]:
            self.write_part("facts", pl.DataFrame(new, schema=FACT_SCHEMA))

    def append_scores(self, scores: Sequence[Score]) -> None:
        """Add scores as one part."""
        if scores:
            rows = [clean(score.model_dump(mode="json")) for score in scores]
            self.write_part("scores", pl.DataFrame(rows, schema=SCORE_SCHEMA))

    def append_activations(self, batch: Mapping[str, StoredActivations]) -> None:
        """Add activations, by transcript digest, as one part. Does nothing if the store keeps no activations.

        Raises:
            StoreError: A value is not finite, or too large for the store's dtype.
        """
        storage = self.identity.activations
        if storage == "none" or not batch:
            return
        schema = self.schema_of("activations")
        frames = [
            pl.DataFrame(
                {"transcript_digest": [digest] * len(stored.positions), "position": stored.positions}
            ).with_columns(pl.Series("activation", to_disk(stored.activations, storage), dtype=schema["activation"]))
            for digest, stored in batch.items()
            if len(stored.positions)
        ]
        if frames:
            self.write_part("activations", pl.concat(frames))

    def rounded(self, activations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Round `activations` to the store's dtype and back, so that a resumed run sees the same values."""
        storage = self.identity.activations
        return activations if storage in ("float32", "none") else from_disk(to_disk(activations, storage), storage)

    def keys(self, *, errors: bool = True) -> set[ReadingKey]:
        """Keys of the stored readings. `errors=False` omits failed readings, so that they are read again."""
        frame = self.rows("readings", {**{k: SCHEMA[k] for k in KEY}, "stop": SCHEMA["stop"]})
        if not errors:
            frame = frame.filter(pl.col("stop") != StopReason.ERROR.value)
        return set(frame.select("transcript_digest", "position", "lane", "draw").iter_rows())

    def readings(self) -> pl.DataFrame:
        """All readings, one row per key, in key order.

        Among rows with the same key, a successful one is kept, then the smallest by its other columns. So the result
        does not depend on the order of parts. A transcript's ERROR row (position -1) is dropped once the transcript has
        been read.
        """
        return without_mended(resolved("readings", self.rows("readings", SCHEMA)))

    def transcripts(self) -> pl.DataFrame:
        """One row per transcript digest, in digest order: the latest row in which the transcript could be prepared."""
        return resolved("transcripts", self.rows("transcripts", TRANSCRIPT_SCHEMA))

    def messages(self) -> dict[str, str]:
        """Conversations by transcript digest, as JSON lists of chat messages."""
        return dict(resolved("messages", self.rows("messages", MESSAGE_SCHEMA)).iter_rows())

    def facts(self) -> list[Fact]:
        """Facts about groups of transcripts, sorted."""
        return [Fact.model_validate(row) for row in resolved("facts", self.rows("facts", FACT_SCHEMA)).to_dicts()]

    def scores(self) -> pl.DataFrame:
        """Scores of lanes without texts, one row per key, in key order. A row with a score wins over an error."""
        return resolved("scores", self.rows("scores", SCORE_SCHEMA))

    def text_readers(self) -> set[tuple[str, str]]:
        """(lane, reader) of every stored text that was written without an activation."""
        frame = self.rows("readings", {name: SCHEMA[name] for name in ("lane", "reader")})
        return set(frame.drop_nulls().unique().iter_rows())

    def activations(self, digests: Collection[str] | None = None) -> dict[str, StoredActivations]:
        """Stored activations by transcript digest, of all transcripts or only of `digests`."""
        storage = self.identity.activations
        if storage == "none":
            return {}
        wanted = None if digests is None else pl.col("transcript_digest").is_in(list(digests))
        frame = resolved("activations", self.rows("activations", self.schema_of("activations"), wanted))
        return {
            str(digest): StoredActivations(
                rows["position"].to_numpy().astype(np.int64), from_disk(rows["activation"].to_numpy(), storage)
            )
            for (digest,), rows in frame.group_by(["transcript_digest"], maintain_order=True)
        }

    def captured(self) -> set[tuple[str, int]]:
        """(transcript digest, position) of every stored activation."""
        if self.identity.activations == "none":
            return set()
        return set(self.rows("activations", {"transcript_digest": pl.String(), "position": pl.Int64()}).iter_rows())

    def finish(self, provenance: Mapping[str, str]) -> Manifest:
        """Write the manifest. The parts it lists then count as complete."""
        parts = {kind: [part.name for part in self.files.parts(kind)] for kind in KINDS}
        manifest = Manifest(identity=self.identity, provenance=dict(sorted(provenance.items())), parts=parts)
        self.write_manifest(manifest)
        return manifest

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the last finished run; None if no run has finished. Raises DamagedError."""
        data = self.files.read_json(MANIFEST_FILE)
        try:
            return None if data is None else Manifest.model_validate(data)
        except ValidationError as err:
            raise DamagedError(
                f"store '{self.url}': {MANIFEST_FILE} is not a manifest; run: nla-eval store repair {self.url}"
            ) from err

    @property
    def complete(self) -> bool:
        """True if a run has finished and no part of readings was added since."""
        manifest = self.manifest
        if manifest is None:
            return False
        listed = set(manifest.parts.get("readings", []))
        return all(part.name in listed for part in self.files.parts("readings"))

    # The methods below are for the other modules of `store`: rows and parts of a kind, as stored.

    def schema_of(self, kind: str) -> dict[str, pl.DataType]:
        """Columns and dtypes of a kind's parts."""
        if kind == "activations":
            return activation_schema(self.identity.activations, self.identity.d_model)
        return {
            "readings": SCHEMA,
            "transcripts": TRANSCRIPT_SCHEMA,
            "messages": MESSAGE_SCHEMA,
            "facts": FACT_SCHEMA,
            "scores": SCORE_SCHEMA,
        }[kind]

    def rows(self, kind: str, schema: Mapping[str, pl.DataType], wanted: pl.Expr | None = None) -> pl.DataFrame:
        """All rows of a kind in the order of their parts, duplicates included.

        Args:
            kind: Kind of the rows.
            schema: Columns to read.
            wanted: Filter on rows, applied part by part.
        """
        for _ in range(_RELISTINGS):
            try:
                frames = [
                    frame if wanted is None else frame.filter(wanted)
                    for frame in self.read_parts(kind, self.files.parts(kind), schema)
                ]
            except PartGoneError:
                continue
            return pl.concat(frames) if frames else pl.DataFrame(schema=dict(schema))
        raise StoreError(f"parts of '{self.url}/{kind}' vanish faster than they can be read; retry after compaction")

    def read_parts(self, kind: str, parts: Sequence[Part], schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """The rows of each part, in order. Raises PartGoneError if a compaction has replaced a part."""
        for name, data in self.files.read(kind, [part.name for part in parts]):
            yield self.parsed(kind, name, data, schema)

    def write_part(self, kind: str, frame: pl.DataFrame, after: Part | None = None) -> Part:
        """Add a part. It sorts last, or right after part `after` if that is given."""
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        return self.files.write_part(kind, buffer.getvalue(), after)

    def write_manifest(self, manifest: Manifest) -> None:
        """Write `manifest`, replacing the existing one."""
        self.files.replace(MANIFEST_FILE, manifest.model_dump_json(indent=2).encode())

    def parsed(self, kind: str, name: str, data: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The rows of one part.

        Raises:
            DamagedError: `data` is not what was written under its name.
            StoreError: It is no part of this kind.
        """
        carried = named_checksum(name)
        if carried is not None and part_checksum(data) != carried:
            raise DamagedError(
                f"part '{self.url}/{kind}/{name}' has changed since it was written; "
                f"run: nla-eval store repair {self.url}"
            )
        try:
            there = pl.read_parquet_schema(io.BytesIO(data))
            later = [name for name in LATER_COLUMNS.get(kind, ()) if name in schema and name not in there]
            frame = pl.read_parquet(io.BytesIO(data), columns=[name for name in schema if name not in later])
            missing = [pl.lit(None, dtype=schema[name]).alias(name) for name in later]
            return frame.with_columns(missing).select(list(schema)).cast(pl.Schema(schema))
        # Parquet that is damaged in some places makes polars panic, which is no Exception.
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as err:
            raise StoreError(
                f"part '{self.url}/{kind}/{name}' cannot be read ({told(err)}); run: nla-eval store repair {self.url}"
            ) from err

    def _read_new(
        self,
        kind: str,
        schema: Mapping[str, pl.DataType],
        known: Collection[str],
        learn: Callable[[str, pl.DataFrame], None],
    ) -> None:
        """Give `learn` every part of a kind that is not among the `known` ones, in order, with its name."""
        for _ in range(_RELISTINGS):
            new = [name for name in self.files.names(kind) if name not in known]
            try:
                for name, data in self.files.read(kind, new) if new else ():
                    learn(name, self.parsed(kind, name, data, schema))
            except PartGoneError:
                continue
            return
        raise StoreError(f"parts of '{self.url}/{kind}' vanish faster than they can be read; retry after compaction")
