"""What the samples of one Inspect task share: the plan, the instrument, and the store as it was when the task began.

Methods take lists and run in the target's worker thread, which batches concurrent samples. The stages are those of the
pipeline, so a reading made here equals one made by `nla-eval read`. It knows no suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..engines.base import Captured, CaptureRequest
from ..models.scores import normalised
from ..pipeline.asked import asked_id
from ..pipeline.driver import Driver
from ..pipeline.lanes import ControlLanes, Site, StandIn
from ..pipeline.plan import Prepared, ReadingPlan, expect_readers, prepare, slots_of, with_setting
from ..pipeline.readers import (
    Readers,
    asked_scores,
    expect_same_readers,
    readers_for,
    text_drafts,
    unscored,
    vector_scores,
    written_readings,
)
from ..pipeline.runtime import Runtime
from ..pipeline.stages import (
    Draft,
    Drawn,
    Scoring,
    ShuffleReference,
    failed_readings,
    score_stage,
    verbalize_stage,
)
from ..pipeline.stored import store_controls
from ..provenance import command
from ..readings import LANES, Lane, Reading, Score, StopReason, lanes_in
from ..store.conversations import kept
from ..store.store import ReadingStore, StoredActivations, StoreIdentity, reading_key
from ..transcript import Arm, Transcript
from .absent_lanes import absence

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Opened:
    """One sample's transcript, replayed and planned."""

    prepared: Prepared
    first_draw: int
    """Number of this sample's first draw. Later epochs are further draws at the same positions."""
    present: tuple[Reading, ...] = ()
    """Planned readings that the store had when the task began."""
    activations: Vectors | None = None
    """(P, d_model); None unless the store had all of them."""

    scores: tuple[Score, ...] = ()
    """Planned scores that the store had when the task began."""
    pending: int = 0
    """Planned readings of the verbalizer still to be made."""
    unscored: bool = False
    """Whether scores of its activations are still to be made."""

    @property
    def request(self) -> CaptureRequest | None:
        """What is still to be captured; None if the transcript is unreadable, or its readings or activations exist."""
        complete = (self.pending == 0 and not self.unscored) or self.activations is not None
        return None if complete or self.prepared.error is not None else self.prepared.request


@dataclass(frozen=True)
class Bank:
    """Activations of earlier runs in the store, from which control lanes are made."""

    controls: ControlLanes
    deployment: int
    """Number of activations of the deployment arm."""
    stored: dict[str, StoredActivations] = field(repr=False)
    """The activations in the sum, by transcript digest."""
    unit_sum: NDArray[np.float64] = field(repr=False)
    count: int


class Session:
    """The shared state of one task. Call every method in the worker thread."""

    def __init__(self, runtime: Runtime, asked: ReadingPlan, url: str | None = None) -> None:
        """
        Args:
            runtime: Target, AV and AR.
            asked: The plan as requested. Lanes that cannot be read are left out later.
            url: URL of the store; None to keep readings in the log only.
        """
        self.runtime = runtime
        self._asked = asked
        self.url = url

    @cached_property
    def asked(self) -> ReadingPlan:
        """The plan as requested, with the setting lane where the pack reads it by default."""
        return with_setting(self._asked, self.runtime.instrument)

    @cached_property
    def plan(self) -> ReadingPlan:
        """The plan with only the lanes that can be read."""
        return replace(self.asked, lanes=self.lanes)

    @cached_property
    def identity(self) -> StoreIdentity:
        """The identity of the store and of every reading."""
        return self.runtime.instrument.identity(self.asked)

    @cached_property
    def store(self) -> ReadingStore | None:
        """The store that keeps readings besides the log. Raises StoreError when it belongs to another plan."""
        return ReadingStore.create(self.url, self.identity) if self.url else None

    @cached_property
    def readers(self) -> Readers:
        """What reads the lanes that the verbalizer does not. Raises StoreError if the store's texts have others."""
        readers = readers_for(self.runtime, self.plan)
        if self.store is not None:
            expect_same_readers(self.store, readers)
        return readers

    @cached_property
    def driver(self) -> Driver:
        """The driver, shared by all samples and the same as in every other way of reading."""
        present = {reading_key(reading) for rows in self._stored.values() for reading in rows}
        absent = {"lanes_absent": ",".join(self.absent)} if self.absent else {}
        provenance = {**self.runtime.settings.facts(), "command": command(), **absent, **self.readers.facts()}
        return Driver(self.plan, self.identity, self.store, present, provenance)

    @cached_property
    def bank(self) -> Bank | None:
        """The store's activations when the task began; None if there are none."""
        stored = self.store.activations() if self.store else {}
        rows = [row for digest in sorted(stored) for row in stored[digest].activations]
        if not rows or self.store is None:
            return None
        arms = dict(self.store.transcripts().select("transcript_digest", "arm").iter_rows())
        return Bank(
            controls=store_controls(self.store),
            deployment=sum(len(s.positions) for d, s in stored.items() if arms.get(d) == Arm.DEPLOYMENT.value),
            stored=stored,
            unit_sum=normalised(np.stack(rows)).sum(axis=0),
            count=len(rows),
        )

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """The requested lanes. Lanes that need deployment activations are left out if the store has none."""
        banked = self.bank is not None and self.bank.deployment > 1
        return tuple(lane for lane in self.asked.lanes if banked or not LANES[lane].borrows)

    @property
    def absent(self) -> tuple[Lane, ...]:
        """Requested lanes that cannot be read."""
        return tuple(lane for lane in self.asked.lanes if lane not in self.lanes)

    @cached_property
    def advice(self) -> str:
        """Why requested lanes cannot be read, and what to run; empty if all can be."""
        return absence(self.absent, self.runtime.settings, self.asked, self.url)

    def absent_of(self, opened: Opened) -> tuple[Lane, ...]:
        """Requested lanes of one sample that cannot be read."""
        return lanes_in(self.absent, opened.prepared.row.arm)

    def facts(self) -> dict[str, str]:
        """Short facts about the instrument, for the log. Raises InputError if a lane lacks what it needs."""
        expect_readers(self.runtime.instrument, self.plan)
        identity = self.identity
        return {
            "target": f"{self.runtime.target_name}@{identity.target}",
            **{name: fact for name, fact in self.runtime.settings.facts().items() if name == "adapter"},
            "pack": identity.pack,
            "layer": str(identity.layer),
            "preset": self.asked.preset,
            "positions": identity.positions,
            "window": identity.window,
            "seed": str(identity.seed),
            "draws": str(self.asked.draws),
            "temperature": f"{identity.temperature:g}",
            "max_new_tokens": str(identity.max_new_tokens),
            "dtype": self.runtime.settings.dtype,
            "lanes": ",".join(self.lanes),
            "lanes_absent": ",".join(self.absent),
            **self.readers.facts(),
        }

    def open(self, asked: list[tuple[Transcript, int]]) -> list[Opened]:
        """Replay transcripts, fix their positions and look up what the store already holds.

        Args:
            asked: (transcript, epoch) of each sample; epochs count from 1.
        """
        if self.store is not None:
            list(kept([transcript for transcript, _ in asked], self.store))
        return [self._open(transcript, (epoch - 1) * self.asked.draws) for transcript, epoch in asked]

    def keep(self, captured: list[tuple[Opened, Captured]]) -> list[Vectors]:
        """Store the finite activations of several samples as one part.

        Returns:
            The activations of each sample, (P, d_model), as the store returns them.
        """
        kept = self.driver.keep((opened.prepared, got) for opened, got in captured)
        found = []
        for opened, got in captured:
            rows = got.activations.copy()
            rows[np.isfinite(rows).all(axis=1)] = kept.activations[opened.prepared.digest].activations
            found.append(rows)
        return found

    def read(self, samples: list[tuple[Opened, Vectors | None]]) -> list[list[Reading]]:
        """Draw, score and store the missing readings of several samples. Returns all readings of each, in key order.

        Args:
            samples: Each sample with its activations (P, d_model), or None if it needs none.
        """
        entered = [opened.prepared for opened, _ in samples]
        self.driver.enter(entered)
        if self.bank is not None:
            self.driver.match((p for p in entered if p.error is None), self.bank.controls.match_levels)
        drafts = [self._drafts(opened, activations) for opened, activations in samples]
        flat = [draft for sample in drafts for draft in sample]
        drawn = verbalize_stage(self.runtime.engine, flat, self.identity) if flat else []
        new: list[list[Reading]] = []
        for (opened, activations), sample in zip(samples, drafts, strict=True):
            own, drawn = drawn[: len(sample)], drawn[len(sample) :]
            new.append(self._scored(own, opened, activations) if own else [])
        self.driver.append([reading for sample in new for reading in sample])
        return [
            self.in_order([*opened.present, *failed_readings(opened.prepared, self.identity), *made])
            for (opened, _), made in zip(samples, new, strict=True)
        ]

    async def read_texts(self, opened: Opened, activations: Vectors | None) -> tuple[list[Reading], list[Score]]:
        """The missing texts and scores of one sample, in the lanes that the verbalizer does not read. Unlike the other
        methods, call it in the sample's own task: it waits for models. `keep_texts` stores what it returns."""
        prepared, readers = opened.prepared, self.readers
        if prepared.error is not None:
            return [], []
        there = {reading_key(reading) for reading in opened.present}
        drafts = [(prepared, d) for d in text_drafts(prepared, self.plan, there, opened.first_draw)]
        known = {(s.transcript_digest, s.position, s.lane.value, s.reader) for s in opened.scores}
        scores = await asked_scores([prepared], readers, known)
        own = {} if activations is None else by_site(prepared, activations)
        scores += await vector_scores(prepared, own, readers, known)
        return await written_readings(drafts, readers, self.identity), scores

    def keep_texts(self, made: list[tuple[list[Reading], list[Score]]]) -> list[None]:
        """Store what `read_texts` has made for several samples."""
        self.driver.append([reading for readings, _ in made for reading in readings])
        scores = [score for _, scored in made for score in scored]
        if self.store is not None:
            self.store.append_scores(scores)
        self.driver.scored += len(scores)
        return [None] * len(made)

    def in_order(self, readings: Iterable[Reading]) -> list[Reading]:
        """Readings by position, lane and draw."""
        return sorted(readings, key=lambda r: (r.position, self.lanes.index(r.lane), r.draw))

    def finish(self) -> None:
        """Write the store's manifest."""
        self.driver.finish()

    @cached_property
    def _stored(self) -> dict[str, list[Reading]]:
        """Readings in the store when the task began, by transcript. Failed readings are made again."""
        found: dict[str, list[Reading]] = defaultdict(list)
        if self.store is not None:
            frame = self.store.readings().filter(pl.col("stop").is_in([StopReason.CLOSED, StopReason.TRUNCATED]))
            for row in frame.iter_rows(named=True):
                found[row["transcript_digest"]].append(Reading.model_validate(row))
        return found

    @cached_property
    def _stored_scores(self) -> dict[str, list[Score]]:
        """Scores in the store when the task began, by transcript. Those with an error are made again."""
        found: dict[str, list[Score]] = defaultdict(list)
        if self.store is not None:
            frame = self.store.scores()
            for row in frame.filter(pl.col("score").is_not_null()).iter_rows(named=True):
                found[row["transcript_digest"]].append(Score.model_validate(row))
        return found

    def _open(self, transcript: Transcript, first_draw: int) -> Opened:
        prepared = prepare(transcript, self.runtime.instrument, self.plan)
        planned = {slot.key for slot in slots_of(prepared, self.plan, first_draw)}
        names = {*(reader.id for reader in self.readers.vectors.values()), asked_id()}
        scores = tuple(
            s for s in self._stored_scores.get(prepared.digest, ()) if s.lane in self.lanes and s.reader in names
        )
        known = {(s.transcript_digest, s.position, s.lane.value, s.reader) for s in scores}
        present = tuple(
            r.model_copy(update={"transcript_id": transcript.id, "suite": transcript.suite})
            for r in self._stored.get(prepared.digest, ())
            if reading_key(r) in planned
        )
        missing = planned - {reading_key(reading) for reading in present}
        return Opened(
            prepared,
            first_draw,
            present,
            self._activations(prepared),
            scores,
            pending=sum(LANES[Lane(key[2])].verbalized for key in missing),
            unscored=bool(unscored([prepared], self.readers, known)),
        )

    def _activations(self, prepared: Prepared) -> Vectors | None:
        stored = self.bank.stored.get(prepared.digest) if self.bank else None
        if stored is None or prepared.error is not None:
            return None
        rows = dict(zip(stored.positions.tolist(), stored.activations, strict=True))
        wanted = prepared.positions.tolist()
        return np.stack([rows[p] for p in wanted]) if all(p in rows for p in wanted) else None

    def _drafts(self, opened: Opened, activations: Vectors | None) -> list[Draft]:
        prepared = opened.prepared
        if prepared.error is not None or opened.pending == 0:
            return []
        mine = {} if activations is None else by_site(prepared, activations)
        own = ControlLanes(prepared.sites, mine, self.asked.seed)
        stand_ins = _Lent(own, self.bank.controls if self.bank else own)
        return list(self.driver.drafts(prepared, stand_ins, opened.first_draw))

    def _scored(self, drawn: list[Drawn], opened: Opened, activations: Vectors | None) -> list[Reading]:
        scoring = Scoring(self.runtime.scorer, self._reference(opened.prepared.digest, activations))
        return score_stage(self.runtime.engine, drawn, self.identity, scoring)

    def _reference(self, digest: str, activations: Vectors | None) -> ShuffleReference | None:
        """The bank's activations and the transcript's own. It does not depend on what else runs at the same time."""
        unit_sum = self.bank.unit_sum if self.bank else np.zeros(self.identity.d_model)
        count = self.bank.count if self.bank else 0
        if activations is not None and not (self.bank and digest in self.bank.stored):
            finite = activations[np.isfinite(activations).all(axis=1)]
            unit_sum, count = unit_sum + normalised(finite).sum(axis=0), count + len(finite)
        return ShuffleReference(unit_sum, count) if count > 1 else None


def by_site(prepared: Prepared, activations: Vectors) -> dict[tuple[str, int], Vectors]:
    """The activations (P, d_model) of a sample by (transcript_digest, position)."""
    return dict(zip(((prepared.digest, int(at)) for at in prepared.positions), activations, strict=True))


@dataclass(frozen=True)
class _Lent:
    """Stand-ins made from the sample's own activations; for lanes that borrow, from the store's."""

    own: ControlLanes
    others: ControlLanes

    def stand_in(self, slot: Site, lane: Lane) -> StandIn:
        """The activation that `lane` injects in `slot`."""
        return (self.others if LANES[lane].borrows else self.own).stand_in(slot, lane)
