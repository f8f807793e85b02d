"""Finds stored readings without AR scores, and the activation from which each explanation was drawn.

In: a store's readings and the lanes of a run. Out: input for `stages.rescore_stage`. An explanation is scored only
against the vector that was injected. If that vector cannot be made again exactly, the reading stays without scores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import polars as pl

from ..models.scores import Vectors
from ..readings import LANES, Reading, StopReason
from ..store.store import ReadingKey, ReadingStore, reading_key
from .lanes import ControlLanes, Site
from .stages import Unscored, draft_of

_NORM_TOLERANCE = 1e-3
"""Relative tolerance: a stand-in whose norm differs more from the recorded norm is another vector."""


def lacking_scores(store: ReadingStore, planned: Collection[ReadingKey]) -> list[Reading]:
    """Planned readings with an injected activation and a closed explanation, but no AR scores, in key order."""
    lacks = (
        (pl.col("stop") == StopReason.CLOSED.value)
        & pl.col("lane").is_in([lane.value for lane, entry in LANES.items() if entry.injects])
        & pl.col("cos").is_null()
    )
    rows = (Reading.model_validate(row) for row in store.readings().filter(lacks).iter_rows(named=True))
    return [r for r in rows if reading_key(r) in planned]


def with_injected(
    readings: Iterable[Reading], sites: Mapping[tuple[str, int], Site], lanes: ControlLanes
) -> list[Unscored]:
    """Pair `readings` with the vectors that were injected for them. Readings whose stand-in has changed, because the
    run's deployment transcripts have changed since, are left out.

    Args:
        readings: Readings without scores.
        sites: Sites of the run, by (transcript digest, position).
        lanes: Control lanes of the run.
    """
    found = []
    for reading in readings:
        site = sites.get((reading.transcript_digest, reading.position))
        draft = None if site is None else draft_of(site, reading.lane, reading.draw, lanes)
        if draft is not None and draft.activation is not None and _is_the_same(draft.donor, draft.activation, reading):
            found.append(Unscored(reading, draft.activation))
    return found


def _is_the_same(donor: str | None, activation: Vectors, reading: Reading) -> bool:
    norm = float(np.linalg.norm(activation.astype(np.float64)))
    recorded = reading.activation_norm
    return donor == reading.donor and recorded is not None and bool(np.isclose(norm, recorded, rtol=_NORM_TOLERANCE))
