"""Readings of a store that lack AR scores, each with the activation that its explanation was drawn from.

In: a store's readings and the lanes of a run. Out: what `stages.rescore_stage` takes. An explanation is scored only
against what was injected: where a stand-in cannot be had again exactly, its reading stays without scores."""

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
"""Relative; a stand-in whose norm is further from the recorded one is another vector."""


def lacking_scores(store: ReadingStore, planned: Collection[ReadingKey]) -> list[Reading]:
    """Planned readings with a closed explanation of an activation and no AR scores, in key order."""
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
    """`readings` with what was injected for them; without those whose stand-in is another one now, because the
    deployment transcripts are others than when they were drawn.

    Args:
        readings: Without scores.
        sites: Of the run, by (transcript digest, position).
        lanes: Of the run.
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
