"""The code that every way of running a plan shares: choosing the missing readings, storing captures and draws, writing
the manifest.

One process (`reading`), a Ray cluster (`ray`) and the samples of an Inspect task (`inspect_ext.session`) form batches
differently and do everything else here. So all three write the same store and manifest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..engines.base import Captured
from ..provenance import versions
from ..readings import LANES, Lane, Needs, Reading
from ..store.store import ReadingKey, ReadingStore, StoredActivations, StoreIdentity, reading_key
from .lanes import Site
from .plan import Prepared, ReadingPlan, Slot, slots_of
from .stages import Draft, StandIns, draft_of, failed_readings, finite_activations

_ROWS_PER_PART = 1024
"""Rows of transcripts in one part: as plain values, a row takes ten times the memory."""


class Scores(StrEnum):
    """Which readings the AR scores."""

    NEW = "new"
    """The readings this run makes."""
    NONE = "none"
    """No readings; the AR does not run."""
    MISSING = "missing"
    """The readings this run makes, and readings in the store that lack scores."""


@dataclass(frozen=True)
class Kept:
    """Result of a batch of captures."""

    activations: dict[str, StoredActivations]
    """Finite activations, by transcript digest."""
    failed: dict[str, list[Reading]]
    """Rows of each transcript that could not be captured, by transcript digest."""


def kept_of(captures: Iterable[tuple[Prepared, Captured]], identity: StoreIdentity) -> Kept:
    """Turn captured transcripts into activations for the store, or ERROR rows."""
    kept = Kept({}, {})
    for prepared, captured in captures:
        if captured.error is None:
            kept.activations[prepared.digest] = finite_activations(prepared, captured)
        else:
            kept.failed[prepared.digest] = failed_readings(replace(prepared, error=captured.error), identity)
    return kept


@dataclass
class Driver:
    """The state of one run of a plan."""

    plan: ReadingPlan
    identity: StoreIdentity
    store: ReadingStore | None
    """None if readings are kept only in an Inspect log."""
    present: set[ReadingKey] = field(default_factory=set)
    """Readings that exist and are not made again."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Facts besides package versions and the plan: command, target, engine, dtype."""
    scores: Scores = Scores.NEW
    left_out: int = 0
    """Number of transcripts skipped because an earlier one has the same content."""
    stops: Counter[str] = field(default_factory=Counter)
    """Number of readings made, by stop reason."""
    levels: Counter[str] = field(default_factory=Counter)
    """Number of slots by match level of their donor; empty without a donor lane."""
    rescored: int = 0
    """Number of stored readings that got their missing scores."""
    scored: int = 0
    """Number of scores made in lanes without texts."""
    _ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _matched: set[str] = field(default_factory=set)
    _trained_on: set[str] = field(default_factory=set)
    """Digests of the transcripts that the pack was trained on."""

    def enter(self, prepared: Sequence[Prepared]) -> None:
        """Store the transcripts' rows, and ERROR or OUT_OF_CONTEXT readings for what cannot be read of them."""
        for p in prepared:
            self._ids[p.digest].add(p.row.transcript_id)
            if p.row.trained_on is not None:
                self._trained_on.add(p.digest)
        if self.store is not None:
            for start in range(0, len(prepared), _ROWS_PER_PART):
                self.store.append_transcripts([p.row for p in prepared[start : start + _ROWS_PER_PART]])
        self.append([reading for p in prepared for reading in failed_readings(p, self.identity)])

    def keep(self, captures: Iterable[tuple[Prepared, Captured]]) -> Kept:
        """Store a batch of captures. The returned activations are rounded to the store's dtype."""
        kept = kept_of(captures, self.identity)
        self.append([row for rows in kept.failed.values() for row in rows])
        if self.store is None:
            return kept
        self.store.append_activations(kept.activations)
        rounded = {
            digest: replace(stored, activations=self.store.rounded(stored.activations))
            for digest, stored in kept.activations.items()
        }
        return replace(kept, activations=rounded)

    def pending(self, prepared: Prepared, first_draw: int = 0) -> Iterator[Slot]:
        """The missing planned readings of one transcript. Draws are numbered from `first_draw`."""
        return (slot for slot in slots_of(prepared, self.plan, first_draw) if slot.key not in self.present)

    def drafts(self, prepared: Prepared, stand_ins: StandIns, first_draw: int = 0) -> Iterator[Draft]:
        """Like `pending` for the lanes that the verbalizer reads, with the vector to inject."""
        slots = self.pending(prepared, first_draw)
        return (draft_of(*slot, stand_ins) for slot in slots if LANES[slot.lane].verbalized)

    def match(self, prepared: Iterable[Prepared], levels_of: Callable[[Iterable[Site]], Counter[str]]) -> None:
        """Count the match levels of donors. Each transcript is counted once.

        Args:
            prepared: Transcripts whose slots may get donors.
            levels_of: Function that counts the donors of sites by match level.
        """
        new = {p.digest: p for p in prepared if p.digest not in self._matched}
        receiving = [p for p in new.values() if any(map(_is_donated, self.plan.lanes_of(p.row.arm)))]
        self._matched |= new.keys()
        if receiving:
            self.levels += levels_of(site for p in receiving for site in p.sites)

    def append(self, readings: Sequence[Reading]) -> None:
        """Store readings, except those already present."""
        new = [r for r in readings if reading_key(r) not in self.present]
        if self.store is not None:
            self.store.append(new)
        self.count(Counter(r.stop.value for r in new))

    def count(self, stops: Mapping[str, int]) -> None:
        """Count readings as made.

        Args:
            stops: Number of readings by stop reason.
        """
        self.stops.update(stops)

    def facts(self) -> dict[str, str]:
        """Facts about the run for the manifest."""
        facts = {
            "lanes": ",".join(self.plan.lanes),
            "draws": str(self.plan.draws),
            "duplicates": str(self.left_out + sum(len(ids) - 1 for ids in self._ids.values())),
            "scores": self.scores.value,
            "preset": self.plan.preset,
            "trained_on": str(len(self._trained_on)),
        }
        levels = {f"donors_{level}": str(count) for level, count in sorted(self.levels.items())}
        return {**versions(), **facts, **levels, **self.provenance}

    def finish(self) -> None:
        """Write the manifest, if the run made anything or the store has none."""
        if self.store is not None and (self.stops or self.rescored or self.scored or not self.store.complete):
            self.store.finish(self.facts())


def _is_donated(lane: Lane) -> bool:
    return LANES[lane].needs is Needs.DONORS
