"""The stages of the pipeline as plain functions over lists: capture, verbalize, score.

A reading comes out the same whoever formed the batch: random numbers are keyed by the reading's key, scores are against
fixed references. Nothing here knows of stores, suites or rubrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Captured, CaptureRequest, Draw, Engine, VerbalizeRequest
from ..models.scores import Scorer, Vectors, normalised
from ..readings import LANES, Lane, Reading, StopReason
from ..store.rows import TranscriptRow
from ..store.store import StoredActivations, StoreIdentity
from ..transcript import Arm
from .lanes import ControlLanes, Site, StandIn, token_class
from .plan import Prepared, fault_line, sampling_of, transcript_fault

_SCORES = ("cos", "mse_nrm", "fve_nrm", "fve_meannorm")


class StandIns(Protocol):
    """Says what a lane injects; `ControlLanes` is one."""

    def stand_in(self, slot: Site, lane: Lane) -> StandIn:
        """What `lane` puts in `slot`: the same for every draw."""
        ...


@dataclass(frozen=True)
class Draft:
    """A reading about to be drawn."""

    site: Site
    lane: Lane
    draw: int
    activation: Vectors | None
    """(d_model,) what is injected; None in the no_injection lane or on error."""
    donor: str | None = None
    error: str | None = None

    def key(self, pack: str) -> str:
        """The engine's key: the reading's key as text."""
        site = self.site
        return f"{pack}|{site.transcript_digest}|{site.position}|{self.lane.value}|{self.draw}"


@dataclass(frozen=True)
class Drawn:
    """A draft with its explanation, not scored yet."""

    draft: Draft
    draw: Draw


@dataclass(frozen=True)
class ShuffleReference:
    """The activations that a reconstruction is compared with when it is not compared with its own.

    Fixed for a run, so that matched-minus-shuffled does not depend on who shared a batch.
    """

    unit_sum: NDArray[np.float64]
    """(d_model,) sum of the L2-normalised activations."""
    count: int

    @classmethod
    def of(cls, activations: Sequence[Vectors]) -> ShuffleReference | None:
        """Over `activations`, each (d_model,), in a fixed order; None for fewer than two."""
        if len(activations) < 2:
            return None
        return cls(normalised(np.stack(activations)).sum(axis=0), len(activations))

    def matched_minus_shuffled(self, reconstructed: Vectors, own: Vectors, inside: NDArray[np.bool_]) -> list[float]:
        """cos with the own activation minus mean cos with the reference, without the own one where it is `inside`.

        Args:
            reconstructed: (n, d_model)
            own: (n, d_model) what was injected.
            inside: (n,) whether `own` is one of the reference's.
        """
        ours, unit = normalised(reconstructed), normalised(own)
        matched = (ours * unit).sum(axis=1)
        others = ((ours * self.unit_sum).sum(axis=1) - matched * inside) / (self.count - inside)
        return [float(x) for x in matched - others]


@dataclass(frozen=True)
class Scoring:
    """How explanations are scored by the AR."""

    scorer: Scorer
    reference: ShuffleReference | None = None
    """The run's activations; None leaves matched_minus_shuffled empty."""


@dataclass(frozen=True)
class Unscored:
    """A reading without AR scores, and what was injected for it."""

    reading: Reading
    activation: Vectors
    """(d_model,)"""


def capture_stage(engine: Engine, prepared: Sequence[Prepared]) -> list[Captured]:
    """Capture several transcripts; one result each, in order. An unreadable one comes back with its error."""
    requests = {p.digest: p.request for p in prepared if p.error is None}.values()
    found = {captured.key: captured for captured in captured_stream(engine, requests)}
    none = np.empty((0, engine.d_model), np.float32)
    return [found[p.digest] if p.error is None else Captured(p.digest, none, p.error) for p in prepared]


def finite_activations(prepared: Prepared, captured: Captured) -> StoredActivations:
    """What a store keeps of a capture: the positions whose activation is a finite number."""
    finite = np.isfinite(captured.activations).all(axis=1)
    return StoredActivations(prepared.positions[finite], captured.activations[finite])


def drafts_of(prepared: Prepared, lanes: Sequence[Lane], draws: int, controls: ControlLanes) -> list[Draft]:
    """Every draft of one transcript: position by position, lane by lane, draw by draw."""
    return [draft_of(site, lane, draw, controls) for site in prepared.sites for lane in lanes for draw in range(draws)]


def verbalize_stage(engine: Engine, drafts: Sequence[Draft], identity: StoreIdentity) -> list[Drawn]:
    """Draw every draft once; one result each, in order. Drafts with an error are not sent to the engine."""
    found = {drawn.draft.key(identity.pack): drawn for drawn in drawn_stream(engine, drafts, identity)}
    return [found[draft.key(identity.pack)] for draft in drafts]


def score_stage(
    engine: Engine, drawn: Sequence[Drawn], identity: StoreIdentity, scoring: Scoring | None
) -> list[Reading]:
    """Readings of `drawn`, in order. Closed explanations of an injected activation get AR scores; without a `scoring`
    the AR does not run."""
    readings = [_reading(d, identity) for d in drawn]
    closed = [i for i, d in enumerate(drawn) if d.draw.stop is StopReason.CLOSED and d.draft.activation is not None]
    if scoring is None or not closed:
        return readings
    scored = rescore_stage(engine, [Unscored(readings[i], _injected(drawn[i].draft)) for i in closed], scoring)
    for i, reading in zip(closed, scored, strict=True):
        readings[i] = reading
    return readings


def rescore_stage(engine: Engine, unscored: Sequence[Unscored], scoring: Scoring) -> list[Reading]:
    """The same readings with AR scores, in order. A score that is not finite stays empty."""
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
    """The rows a transcript has before anything is drawn.

    One ERROR row at position -1 where it cannot be read, and one OUT_OF_CONTEXT row at the first lost token where the
    window cut it: positions are drawn from what was kept, so the loss has to be counted somewhere.
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
    """The engine's captures; one that is not (P, d_model) is the engine's bug, not the transcript's."""
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


def drawn_stream(engine: Engine, drafts: Sequence[Draft], identity: StoreIdentity) -> Iterator[Drawn]:
    """Drafts with their explanations as they come; order may differ from the input's."""
    waiting = {}
    for draft in drafts:
        key = draft.key(identity.pack)
        if draft.error is None:
            waiting[key] = draft
        else:
            yield Drawn(draft, Draw(key, "", StopReason.ERROR, 0, draft.error))
    requests = [VerbalizeRequest(key, draft.activation, identity.seed) for key, draft in waiting.items()]
    for draw in engine.verbalize(requests, sampling_of(identity)) if requests else ():
        yield Drawn(waiting.pop(draw.key), draw)
    if waiting:
        raise RuntimeError(f"the engine drew nothing for {len(waiting)} requests, first {next(iter(waiting))}")


def draft_of(site: Site, lane: Lane, draw: int, controls: StandIns) -> Draft:
    """One draft; a stand-in that cannot be had becomes its error."""
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


def _reading(drawn: Drawn, identity: StoreIdentity) -> Reading:
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
    )


def _rowless(row: TranscriptRow, position: int, stop: StopReason, identity: StoreIdentity, error: str) -> Reading:
    site = Site(
        row.transcript_digest, row.transcript_id, row.suite, Arm(row.arm), row.family,
        position, -1, "", "", -1, "", "", token_class("", ""),
    )  # fmt: skip
    return _reading(Drawn(Draft(site, Lane.MEASURED, 0, None), Draw("", "", stop, 0, error)), identity)
