"""What runs inside Ray actors: one class a stage, each turning units of work into the next stage's units.

A unit is what one task does: some transcripts, or some readings. Weights are loaded once per actor. It knows neither
resources nor scheduling, and of Ray only how to fetch an object."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from .engines.base import Engine, Sampling
from .errors import NlaEvalError
from .lanes import ControlLanes, Site
from .plan import Prepared
from .reading import Activations
from .readings import Lane, Reading
from .runtime import RuntimeSettings, runtime_for
from .stages import (
    Draft,
    Drawn,
    Scorer,
    Scoring,
    ShuffleReference,
    capture_stage,
    draft_of,
    failed_readings,
    finite_activations,
    score_stage,
    verbalize_stage,
)
from .store import ReadingKey, ReadingStore, StoredActivations, StoreIdentity

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Weights:
    """What an actor runs."""

    engine: Engine
    scorer: Scorer


Load = Callable[[], Weights]
"""Called once in each actor."""


def weights_of(settings: RuntimeSettings) -> Weights:
    """An actor's weights: those of the actor's own runtime."""
    runtime = runtime_for(settings)
    return Weights(runtime.engine, runtime.scorer)


@dataclass(frozen=True)
class CapturedUnit:
    """What became of some transcripts; their activations are in the store."""

    transcripts: int
    failed: tuple[str, ...]
    """Digests of those that got an ERROR row instead."""


@dataclass(frozen=True)
class DraftUnit:
    """Readings about to be drawn, and what their reconstructions will be compared with."""

    drafts: tuple[Draft, ...]
    reference: ShuffleReference | None


@dataclass(frozen=True)
class DrawnUnit:
    """Readings drawn and not scored yet."""

    drawn: tuple[Drawn, ...]
    reference: ShuffleReference | None


def packed(unit: object) -> bytes:
    """A unit as it travels: Arrow has no column of Python objects."""
    return pickle.dumps(unit)


def unpacked(data: bytes) -> Any:
    """What `packed` packed, in a process of the same run; never from a file."""
    return pickle.loads(data)


@dataclass(frozen=True)
class Mistake:
    """What a user can mend, in place of a unit. It travels as data: Ray keeps only the text of an actor's exception."""

    message: str
    """One line."""


class _Actor(Generic[In, Out]):
    """Turns each unit of a batch into one of the next stage."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One unit out for each that comes in."""
        column = np.empty(len(batch["unit"]), dtype=object)
        column[:] = [packed(self._done(unpacked(unit))) for unit in batch["unit"]]
        return {"unit": column}

    def _done(self, work: In | Mistake) -> Out | Mistake:
        if isinstance(work, Mistake):
            return work
        try:
            return self.unit(work)
        except NlaEvalError as err:
            return Mistake(str(err))

    def unit(self, work: In) -> Out:
        raise NotImplementedError


class _Loaded(_Actor[In, Out]):
    """With weights, loaded at the first unit."""

    def __init__(self, load: Load) -> None:
        self._load = load

    @cached_property
    def weights(self) -> Weights:
        return self._load()


class CaptureActor(_Loaded[Sequence[Prepared], CapturedUnit]):
    """Captures transcripts into the store."""

    def __init__(self, load: Load, url: str) -> None:
        super().__init__(load)
        self._store = ReadingStore.open(url)

    def unit(self, work: Sequence[Prepared]) -> CapturedUnit:
        """Activations of `work` as one part; what failed as ERROR rows."""
        keep: dict[str, StoredActivations] = {}
        failed: list[Reading] = []
        for prepared, captured in zip(work, capture_stage(self.weights.engine, work), strict=True):
            if captured.error is None:
                keep[prepared.digest] = finite_activations(prepared, captured)
            else:
                failed += failed_readings(replace(prepared, error=captured.error), self._store.identity)
        self._store.append_activations(keep)
        self._store.append(failed)
        return CapturedUnit(len(work), tuple(p.digest for p in work if p.digest not in keep))


class LanesActor(_Actor[Sequence[ReadingKey], DraftUnit]):
    """Finds what is injected for each key. Has no weights, and holds all activations of the run.

    Args:
        sites: One reference to the run's sites, in a list so that it arrives as a reference.
        url: Of the store.
        seed: Of the run.
    """

    def __init__(self, sites: list[Any], url: str, seed: int) -> None:
        import ray

        found: list[Site] = ray.get(sites[0])
        activations = activations_of(ReadingStore.open(url), found)
        ordered = sorted(found, key=lambda site: site.key)
        self._sites = {site.key: site for site in found}
        self._controls = ControlLanes(found, activations, seed)
        self._reference = ShuffleReference.of([activations[s.key] for s in ordered if s.key in activations])

    def unit(self, work: Sequence[ReadingKey]) -> DraftUnit:
        """A draft of each key."""
        drafts = (draft_of(self._sites[d, p], Lane(lane), draw, self._controls) for d, p, lane, draw in work)
        return DraftUnit(tuple(drafts), self._reference)


class VerbalizeActor(_Loaded[DraftUnit, DrawnUnit]):
    """Draws explanations."""

    def __init__(self, load: Load, identity: StoreIdentity, sampling: Sampling) -> None:
        super().__init__(load)
        self._identity, self._sampling = identity, sampling

    def unit(self, work: DraftUnit) -> DrawnUnit:
        """An explanation of each draft."""
        drawn = verbalize_stage(self.weights.engine, work.drafts, self._identity, self._sampling)
        return DrawnUnit(tuple(drawn), work.reference)


class ReconstructActor(_Loaded[DrawnUnit, list[Reading]]):
    """Scores explanations by the AR."""

    def __init__(self, load: Load, identity: StoreIdentity) -> None:
        super().__init__(load)
        self._identity = identity

    def unit(self, work: DrawnUnit) -> list[Reading]:
        """Readings of what was drawn."""
        scoring = Scoring(self.weights.scorer, work.reference)
        return score_stage(self.weights.engine, work.drawn, self._identity, scoring)


class KeepActor(_Actor[Sequence[Reading], "Counter[str]"]):
    """Writes readings to the store. Has no weights, so that a slow store keeps no accelerator waiting."""

    def __init__(self, url: str) -> None:
        self._store = ReadingStore.open(url)

    def unit(self, work: Sequence[Reading]) -> Counter[str]:
        """Append `work` as one part; its readings by stop reason."""
        self._store.append(work)
        return Counter(reading.stop.value for reading in work)


def match_levels(sites: list[Any], url: str, seed: int) -> Counter[str]:
    """How many sites found a donor at each level; arguments as `LanesActor` takes them."""
    import ray

    found: list[Site] = ray.get(sites[0])
    return ControlLanes(found, activations_of(ReadingStore.open(url), found), seed).match_levels(found)


def activations_of(store: ReadingStore, sites: Sequence[Site]) -> Activations:
    """The stored activations of `sites`, each (d_model,), by site."""
    wanted = {site.key for site in sites}
    return {
        (digest, int(position)): row
        for digest, stored in store.activations({digest for digest, _ in wanted}).items()
        for position, row in zip(stored.positions, stored.activations, strict=True)
        if (digest, int(position)) in wanted
    }
