"""The Ray actors: one class per stage, which turns units of work into units for the next stage.

A unit is the work of one task: some transcripts, or some readings. Each actor loads its weights once. This module knows
nothing of resources or scheduling; it uses Ray only to fetch objects."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from ..engines.base import Engine
from ..engines.kinds import RuntimeSettings
from ..errors import NlaEvalError
from ..models.scores import Scorer
from ..readings import Lane
from ..store.store import ReadingKey, ReadingStore
from .driver import kept_of
from .lanes import ControlLanes, Site
from .plan import Prepared
from .runtime import runtime_for
from .stages import (
    Draft,
    Drawn,
    Scoring,
    ShuffleReference,
    capture_stage,
    draft_of,
    score_stage,
    verbalize_stage,
)
from .stored import Activations, stored_activations

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Weights:
    """The engine and scorer of an actor."""

    engine: Engine
    scorer: Scorer


Load = Callable[[], Weights]
"""Loads an actor's weights. Called once in each actor."""


def weights_of(settings: RuntimeSettings) -> Weights:
    """The weights of the runtime in the actor's own process."""
    runtime = runtime_for(settings)
    return Weights(runtime.engine, runtime.scorer)


@dataclass(frozen=True)
class CapturedUnit:
    """Captured transcripts. Their activations are in the store."""

    transcripts: int
    failed: tuple[str, ...]
    """Digests of transcripts that got an ERROR row instead."""


@dataclass(frozen=True)
class DraftUnit:
    """Drafts to draw, and the reference for their scores."""

    drafts: tuple[Draft, ...]
    reference: ShuffleReference | None


@dataclass(frozen=True)
class DrawnUnit:
    """Drawn readings without scores."""

    drawn: tuple[Drawn, ...]
    reference: ShuffleReference | None


def packed(unit: object) -> bytes:
    """Pickle a unit, because Arrow has no column type for Python objects."""
    return pickle.dumps(unit)


def unpacked(data: bytes) -> Any:
    """Unpickle a unit from a process of the same run. Never call it on data from a file."""
    return pickle.loads(data)


@dataclass(frozen=True)
class Mistake:
    """A user error, returned in place of a unit. Ray keeps only the text of an actor's exception, so it is sent as
    data."""

    message: str
    """One line."""


class _Actor(ABC, Generic[In, Out]):
    """Turns each unit of a batch into a unit for the next stage.

    Store and weights are opened at the first unit, because Ray silently retries an actor that fails while it starts.

    Args:
        url: URL of the store.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Process a batch; returns one unit per input unit."""
        column = np.empty(len(batch["unit"]), dtype=object)
        column[:] = [packed(self._done(unpacked(unit))) for unit in batch["unit"]]
        return {"unit": column}

    @cached_property
    def _store(self) -> ReadingStore:
        return ReadingStore.open(self._url)

    def _done(self, work: In | Mistake) -> Out | Mistake:
        if isinstance(work, Mistake):
            return work
        try:
            return self.unit(work)
        except NlaEvalError as err:
            return Mistake(str(err))

    @abstractmethod
    def unit(self, work: In) -> Out:
        """Turn a unit of the previous stage into one for the next stage."""


class _Loaded(_Actor[In, Out]):
    """With weights."""

    def __init__(self, url: str, load: Load) -> None:
        super().__init__(url)
        self._load = load

    @cached_property
    def _weights(self) -> Weights:
        return self._load()


class CaptureActor(_Loaded[Sequence[Prepared], CapturedUnit]):
    """Captures transcripts into the store."""

    def unit(self, work: Sequence[Prepared]) -> CapturedUnit:
        """Store the activations of `work` as one part, and failures as ERROR rows."""
        captures = zip(work, capture_stage(self._weights.engine, work), strict=True)
        kept = kept_of(captures, self._store.identity)
        self._store.append_activations(kept.activations)
        self._store.append([row for rows in kept.failed.values() for row in rows])
        return CapturedUnit(len(work), tuple(kept.failed))


class LanesActor(_Actor[Sequence[ReadingKey], DraftUnit]):
    """Looks up the vector to inject for each key. Has no weights, and holds all activations of the run.

    Args:
        url: URL of the store.
        sites: One Ray reference to the run's sites. Ray would resolve it if it were not in a list.
    """

    def __init__(self, url: str, sites: list[Any]) -> None:
        super().__init__(url)
        self._reference = sites[0]

    @cached_property
    def _sites(self) -> dict[tuple[str, int], Site]:
        import ray

        return {site.key: site for site in sorted(ray.get(self._reference), key=lambda site: site.key)}

    @cached_property
    def _activations(self) -> Activations:
        """The stored activations of the sites, each (d_model,), in the order of their keys."""
        rows = stored_activations(self._store, {digest for digest, _ in self._sites})
        return {key: rows[key] for key in self._sites if key in rows}

    @cached_property
    def _controls(self) -> ControlLanes:
        return ControlLanes(self._sites.values(), self._activations, self._store.identity.seed)

    @cached_property
    def _shuffled(self) -> ShuffleReference | None:
        return ShuffleReference.of(list(self._activations.values()))

    def unit(self, work: Sequence[ReadingKey]) -> DraftUnit:
        """Make a draft for each key."""
        drafts = (draft_of(self._sites[d, p], Lane(lane), draw, self._controls) for d, p, lane, draw in work)
        return DraftUnit(tuple(drafts), self._shuffled)


class VerbalizeActor(_Loaded[DraftUnit, DrawnUnit]):
    """Draws explanations."""

    def unit(self, work: DraftUnit) -> DrawnUnit:
        """Draw an explanation for each draft."""
        drawn = verbalize_stage(self._weights.engine, work.drafts, self._store.identity)
        return DrawnUnit(tuple(drawn), work.reference)


class ReconstructActor(_Loaded[DrawnUnit, "Counter[str]"]):
    """Scores explanations with the AR and writes the readings to the store."""

    def unit(self, work: DrawnUnit) -> Counter[str]:
        """Store the scored readings as one part. Returns their number by stop reason."""
        scoring = Scoring(self._weights.scorer, work.reference)
        readings = score_stage(self._weights.engine, work.drawn, self._store.identity, scoring)
        self._store.append(readings)
        return Counter(reading.stop.value for reading in readings)
