"""Loads activations from a store, and makes control lanes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from ..store.store import ReadingStore, StoredActivations
from ..transcript import Arm
from .lanes import ControlLanes, Site, token_class

Activations = dict[tuple[str, int], NDArray[np.float32]]
"""Activation (d_model,) of each site, by (transcript digest, position)."""


def store_controls(store: ReadingStore) -> ControlLanes:
    """Control lanes from the activations of a store, for callers whose own transcripts are not in the store."""
    return ControlLanes(_stored_sites(store), stored_activations(store), store.identity.seed)


def stored_activations(store: ReadingStore, digests: Collection[str] | None = None) -> Activations:
    """Stored activations of all transcripts, or only of `digests`."""
    stored = store.activations(digests).items()
    return {site: row for digest, kept in stored for site, row in by_site(digest, kept).items()}


def by_site(digest: str, kept: StoredActivations) -> Activations:
    """Stored activations of one transcript, by site."""
    return {(digest, int(position)): row for position, row in zip(kept.positions, kept.activations, strict=True)}


def _stored_sites(store: ReadingStore) -> Iterator[Site]:
    rows = store.readings().unique(subset=["transcript_digest", "position"], keep="first", maintain_order=True)
    joined = rows.join(store.transcripts().select("transcript_digest", "arm", "family"), on="transcript_digest")
    for r in joined.filter(joined["position"] >= 0).iter_rows(named=True):
        before = r["context"][: -len(r["token"])] if r["token"] else r["context"]
        yield Site(
            r["transcript_digest"], r["transcript_id"], r["suite"], Arm(r["arm"]), r["family"], r["position"],
            r["message"], r["role"], r["channel"], r["turn"], r["token"], r["context"],
            token_class(r["token"], before[-1:]),
        )  # fmt: skip
