"""The stages of the pipeline as plain functions over lists: capture, verbalize, score.

A reading does not depend on its batch: random numbers are keyed by the reading's key, and scores use fixed references.
This module knows nothing of suites or rubrics, and writes to no store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Captured, CaptureRequest, Draw, Engine, VerbalizeRequest
from ..models.scores import Scorer, Vectors, normalised
from ..readings import LANES, Lane, Reading, StopReason
from ..store.rows import TranscriptRow
from ..store.store import StoredActivations, StoreIdentity
from ..transcript import Arm
from .lanes import Site, StandIn, token_class
from .plan import Prepared, fault_line, sampling_of, transcript_fault

_ROWS = 4096
"""Activations that are copied at a time. The sum adds row after row, so it does not depend on this."""
_SCORES = ("cos", "mse_nrm", "fve_nrm", "fve_meannorm")


class StandIns(Protocol):
    """Provides the stand-ins of lanes, as `ControlLanes` does."""

    def stand_in(self, slot: Site, lane: Lane) -> StandIn:
        """The stand-in that `lane` injects into `slot`. It is the same for every draw."""
        ...


@dataclass(frozen=True)
class Draft:
    """A reading that is not drawn yet."""

    site: Site
    lane: Lane
    draw: int
    activation: Vectors | None
    """(d_model,) vector to inject; None in the no_injection lane or on error."""
    donor: str | None = None
    error: str | None = None

    def key(self, pack: str) -> str:
        """Key for the engine: the reading's key as text."""
        site = self.site
        return f"{pack}|{site.transcript_digest}|{site.position}|{self.lane.value}|{self.draw}"


@dataclass(frozen=True)
class Drawn:
    """A draft with its explanation, without scores."""

    draft: Draft
    draw: Draw


@dataclass(frozen=True)
class ShuffleReference:
    """The other activations of a run, with which matched-minus-shuffled compares a reconstruction.

    It is fixed for a run, so that the score does not depend on the batch.
    """

    unit_sum: NDArray[np.float64]
    """(d_model,) sum of the L2-normalised activations."""
    count: int

    @classmethod
    def of(cls, activations: Sequence[Vectors]) -> ShuffleReference | None:
        """Make the reference of `activations`, each (d_model,), in a fixed order; None if there are fewer than two."""
        if len(activations) < 2:
            return None
        total: NDArray[np.float64] | None = None
        for start in range(0, len(activations), _ROWS):
            unit = normalised(np.stack(activations[start : start + _ROWS]))
            total = (unit if total is None else np.concatenate([total[None], unit])).sum(axis=0)
        return None if total is None else cls(total, len(activations))

    def matched_minus_shuffled(self, reconstructed: Vectors, own: Vectors, inside: NDArray[np.bool_]) -> list[float]:
        """cos with the own activation minus the mean cos with the reference's other activations.

        Args:
            reconstructed: (n, d_model) vectors of the AR.
            own: (n, d_model) injected vectors.
            inside: (n,) whether `own` is part of the reference, and so must be excluded from the mean.
        """
        ours, unit = normalised(reconstructed), normalised(own)
        matched = (ours * unit).sum(axis=1)
        others = ((ours * self.unit_sum).sum(axis=1) - matched * inside) / (self.count - inside)
        return [float(x) for x in matched - others]


@dataclass(frozen=True)
class Scoring:
    """How to score explanations with the AR."""

    scorer: Scorer
    reference: ShuffleReference | None = None
    """The run's activations; None leaves matched_minus_shuffled empty."""


@dataclass(frozen=True)
class Unscored:
    """A reading without AR scores, and the vector that was injected for it."""

    reading: Reading
    activation: Vectors
    """(d_model,)"""


def capture_stage(engine: Engine, prepared: Sequence[Prepared]) -> list[Captured]:
    """Capture several transcripts; one result each, in order. A transcript that cannot be read has an error."""
    requests = {p.digest: p.request for p in prepared if p.error is None}.values()
    found = {captured.key: captured for captured in captured_stream(engine, requests)}
    none = np.empty((0, engine.d_model), np.float32)
    return [found[p.digest] if p.error is None else Captured(p.digest, none, p.error) for p in prepared]


def finite_activations(prepared: Prepared, captured: Captured) -> StoredActivations:
    """The finite activations of a capture, for the store."""
    finite = np.isfinite(captured.activations).all(axis=1)
    return StoredActivations(prepared.positions[finite], captured.activations[finite])


def verbalize_stage(engine: Engine, drafts: Sequence[Draft], identity: StoreIdentity) -> list[Drawn]:
    """Draw one explanation per draft, in order. Drafts with an error are not sent to the engine."""
    found = {drawn.draft.key(identity.pack): drawn for drawn in drawn_stream(engine, drafts, identity)}
    return [found[draft.key(identity.pack)] for draft in drafts]


def score_stage(
    engine: Engine, drawn: Sequence[Drawn], identity: StoreIdentity, scoring: Scoring | None
) -> list[Reading]:
    """Turn `drawn` into readings, in order. Closed explanations of an injected activation get AR scores.

    If `scoring` is None, the AR does not run.
    """
    readings = [reading_of(d, identity) for d in drawn]
    closed = [i for i, d in enumerate(drawn) if d.draw.stop is StopReason.CLOSED and d.draft.activation is not None]
    if scoring is None or not closed:
        return readings
    scored = rescore_stage(engine, [Unscored(readings[i], _injected(drawn[i].draft)) for i in closed], scoring)
    for i, reading in zip(closed, scored, strict=True):
        readings[i] = reading
    return readings


def rescore_stage(engine: Engine, unscored: Sequence[Unscored], scoring: Scoring) -> list[Reading]:
    """Add AR scores to readings; the order is kept. A score that is not finite stays None."""
    injected = np.stack([u.activation for u in unscored])
    reconstructed = engine.reconstruct([u.reading.explanation for u in unscored])
    scores = scoring.scorer(reconstructed, injected)
    columns = {name: [float(x) for x in getattr(scores, name)] for name in _SCORES}
    if scoring.reference is not None:
        inside = np.array([LANES[u.reading.lane].real for u in unscored])
        columns["matched_minus_shuffled"] = scoring.reference.matched_minus_shuffled(reconstructed, injected, inside)
    return [
        u.reading.model_copy(update={name: column[row] for name, column in columns.items() if np.isfinite(column[row])})
        for row, u in enumerate(unscored)
    ]


def failed_readings(prepared: Prepared, identity: StoreIdentity) -> list[Reading]:
    """The rows of a transcript that exist before anything is drawn.

    A transcript that cannot be read has one ERROR row at position -1. A transcript cut by the window has one
    OUT_OF_CONTEXT row at the first lost token. It counts the loss, because positions come only from the kept tokens.
    """
    rows = []
    if prepared.error is not None:
        rows.append(_rowless(prepared.row, -1, StopReason.ERROR, identity, prepared.error))
    if prepared.row.lost_tokens:
        cut = "its middle" if "cut_to_tail" in prepared.row.replay_notes else "its end"
        lost = f"{prepared.row.lost_tokens} tokens beyond the target's context, left out of {cut}"
        rows.append(_rowless(prepared.row, prepared.row.tokens, StopReason.OUT_OF_CONTEXT, identity, lost))
    return rows


def captured_stream(engine: Engine, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
    """Yield the engine's captures. Raises RuntimeError if one is not (P, d_model), which is a bug of the engine."""
    shapes: dict[str, int] = {}

    def remembered() -> Iterator[CaptureRequest]:
        for request in requests:
            shapes[request.key] = len(request.positions)
            yield request

    for captured in engine.capture(remembered()):
        expected = (shapes[captured.key], engine.d_model)
        if captured.error is None and captured.activations.shape != expected:
            raise RuntimeError(f"the engine captured {captured.activations.shape} for {expected} activations")
        yield captured


def drawn_stream(
    engine: Engine,
    drafts: Sequence[Draft],
    identity: StoreIdentity,
    heard: Callable[[Draft, str], None] | None = None,
) -> Iterator[Drawn]:
    """Yield drafts with their explanations as they are finished, perhaps in another order.

    Args:
        engine: Draws the explanations.
        drafts: What to draw; those with an error are not sent to the engine.
        identity: Temperature, token cap and seed.
        heard: Called with a draft and its explanation so far, after each token, by engines that say it.
    """
    waiting = {}
    for draft in drafts:
        key = draft.key(identity.pack)
        if draft.error is None:
            waiting[key] = draft
        else:
            yield Drawn(draft, Draw(key, "", StopReason.ERROR, 0, draft.error))
    requests = [
        VerbalizeRequest(key, draft.activation, identity.seed, heard=None if heard is None else partial(heard, draft))
        for key, draft in waiting.items()
    ]
    for draw in engine.verbalize(requests, sampling_of(identity)) if requests else ():
        yield Drawn(waiting.pop(draw.key), draw)
    if waiting:
        raise RuntimeError(f"the engine drew nothing for {len(waiting)} requests, first {next(iter(waiting))}")


def draft_of(site: Site, lane: Lane, draw: int, controls: StandIns) -> Draft:
    """Make one draft. If there is no stand-in, the reason becomes the draft's error."""
    try:
        stand_in = controls.stand_in(site, lane)
    except Exception as err:
        if not transcript_fault(err):
            raise
        return Draft(site, lane, draw, None, error=fault_line(err))
    return Draft(site, lane, draw, stand_in.activation, stand_in.donor, stand_in.error)


def _injected(draft: Draft) -> Vectors:
    if draft.activation is None:
        raise RuntimeError("only drafts with an activation are scored")
    return draft.activation


def reading_of(drawn: Drawn, identity: StoreIdentity, reader: str | None = None) -> Reading:
    """The row of one draw, without AR scores. `reader`: what wrote it, in a lane without an activation."""
    draft, draw, site = drawn.draft, drawn.draw, drawn.draft.site
    norm = None if draft.activation is None else float(np.linalg.norm(draft.activation.astype(np.float64)))
    return Reading(
        pack=identity.pack,
        transcript_digest=site.transcript_digest,
        transcript_id=site.transcript_id,
        suite=site.suite,
        position=site.position,
        lane=draft.lane,
        draw=draft.draw,
        policy=identity.positions,
        seed=identity.seed,
        message=site.message,
        role=site.role,
        channel=site.channel,
        turn=site.turn,
        token=site.token,
        context=site.context,
        explanation=draw.text,
        stop=draw.stop,
        tokens=draw.tokens,
        activation_norm=norm,
        donor=draft.donor,
        error=draw.error,
        reader=reader,
    )


def _rowless(row: TranscriptRow, position: int, stop: StopReason, identity: StoreIdentity, error: str) -> Reading:
    site = Site(
        row.transcript_digest, row.transcript_id, row.suite, Arm(row.arm), row.family,
        position, -1, "", "", -1, "", "", token_class("", ""),
    )  # fmt: skip
    return reading_of(Drawn(Draft(site, Lane.MEASURED, 0, None), Draw("", "", stop, 0, error)), identity)
