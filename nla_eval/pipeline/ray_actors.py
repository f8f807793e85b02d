"""What runs inside Ray actors: one class a stage, each turning units of work into the next stage's units.

A unit is what one task does: some transcripts, or some readings. Weights are loaded once per actor. It knows neither
resources nor scheduling, and of Ray only how to fetch an object."""

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


class _Actor(ABC, Generic[In, Out]):
    """Turns each unit of a batch into one of the next stage.

    What it needs is opened at its first unit: what fails while an actor starts, Ray tries again without a word.

    Args:
        url: Of the store.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One unit out for each that comes in."""
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
        """One unit of the next stage from one of the stage before."""


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
        """Activations of `work` as one part; what failed as ERROR rows."""
        captures = zip(work, capture_stage(self._weights.engine, work), strict=True)
        kept = kept_of(captures, self._store.identity)
        self._store.append_activations(kept.activations)
        self._store.append([row for rows in kept.failed.values() for row in rows])
        return CapturedUnit(len(work), tuple(kept.failed))


class LanesActor(_Actor[Sequence[ReadingKey], DraftUnit]):
    """Finds what is injected for each key. Has no weights, and holds all activations of the run.

    Args:
        url: Of the store.
        sites: One reference to the run's sites, in a list so that it arrives as a reference.
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
        """A draft of each key."""
        drafts = (draft_of(self._sites[d, p], Lane(lane), draw, self._controls) for d, p, lane, draw in work)
        return DraftUnit(tuple(drafts), self._shuffled)


class VerbalizeActor(_Loaded[DraftUnit, DrawnUnit]):
    """Draws explanations."""

    def unit(self, work: DraftUnit) -> DrawnUnit:
        """An explanation of each draft."""
        drawn = verbalize_stage(self._weights.engine, work.drafts, self._store.identity)
        return DrawnUnit(tuple(drawn), work.reference)


class ReconstructActor(_Loaded[DrawnUnit, "Counter[str]"]):
    """Scores explanations by the AR and writes their readings to the store."""

    def unit(self, work: DrawnUnit) -> Counter[str]:
        """Readings of what was drawn as one part; how many by stop reason."""
        scoring = Scoring(self._weights.scorer, work.reference)
        readings = score_stage(self._weights.engine, work.drawn, self._store.identity, scoring)
        self._store.append(readings)
        return Counter(reading.stop.value for reading in readings)
