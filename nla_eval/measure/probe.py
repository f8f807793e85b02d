"""Trains the linear probe of the lane `probe` on pairs of transcripts that differ in one notice, and says what it is
worth beside readers of the text.

In: pairs of transcripts and a way to capture activations. Out: a `models.probe.Probe`. Both sides of a pair are read at
the same tokens after the notice, so that format, topic and position are equal. Figures are on held-out notices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Captured, CaptureRequest
from ..errors import InputError
from ..models.probe import Probe, ProbeFacts
from ..replay.replay import ReplayConfig, replay
from ..replay.types import Replay
from ..stats.auroc import auroc_shared_clusters
from ..stats.bootstrap import cluster_mean
from ..stats.interval import Estimate, Resampling
from . import readers
from .figures import Floats, Ints
from .told import ToldPair

_UNBOUNDED = 2**31 - 1
Capture = Callable[[Iterable[CaptureRequest]], Iterable[Captured]]


class ReadTarget(Protocol):
    """What is read: a target's identity and tokenizer."""

    @property
    def name(self) -> str:
        """The name as the user gave it."""
        ...

    @property
    def hash(self) -> str:
        """Hash of weights and tokenizer."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its fast tokenizer."""
        ...


@dataclass(frozen=True)
class MatchedRows:
    """Activations of both sides of every pair at the same tokens, row by row."""

    activations: NDArray[np.float32]
    """(n, d_model) raw."""
    contexts: list[str]
    """(n,) the text up to and including the token: what a reader of the text sees."""
    told: NDArray[np.bool_]
    """(n,)"""
    family: Ints
    """(n,) number of the notice."""
    pair: Ints
    """(n,) number of the pair."""
    token: Ints
    """(n,) which of the pair's tokens."""
    left_out: dict[str, int]
    """Pairs that could not be read, by reason."""

    @property
    def paired(self) -> list[tuple[int, int]]:
        """(told row, other row) of every token of every pair."""
        at: dict[tuple[int, int], dict[bool, int]] = {}
        for row, key in enumerate(zip(self.pair.tolist(), self.token.tolist(), strict=True)):
            at.setdefault(key, {})[bool(self.told[row])] = row
        return [(sides[True], sides[False]) for sides in at.values()]


def matched_rows(
    pairs: Sequence[ToldPair], tokenizer: Any, capture: Capture, tokens: int = 6, max_tokens: int = 1024
) -> MatchedRows:
    """Capture both sides of every pair at `tokens` tokens that they share after the message with the notice, evenly
    spaced, the last one included.

    Args:
        pairs: Transcripts that differ in one notice and end alike.
        tokenizer: The target's.
        capture: The engine's capture.
        tokens: Most tokens per pair.
        max_tokens: A conversation is read up to here.

    Raises:
        InputError: Fewer than two notices could be read.
    """
    left_out: dict[str, int] = {}
    plans: dict[str, tuple[Replay, Ints]] = {}
    for n, pair in enumerate(pairs):
        try:
            sides = [replay(t, tokenizer, ReplayConfig(_UNBOUNDED)) for t in (pair.told, pair.untold)]
        except InputError as fault:
            reason = str(fault).split(";")[0][:80]
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        shared = _after_notice(*sides)
        starts = [len(side) - shared for side in sides]
        room = min(shared, max_tokens - max(starts))
        if room < 1:
            left_out["its sides share no token"] = left_out.get("its sides share no token", 0) + 1
            continue
        at = np.unique(np.linspace(0, room - 1, min(tokens, room)).astype(np.int64))
        for name, side, start in zip(("told", "untold"), sides, starts, strict=True):
            plans[f"{n}-{name}"] = (side, start + at)
    found = {c.key: c for c in capture(CaptureRequest(k, s.token_ids[: p[-1] + 1], p) for k, (s, p) in plans.items())}
    rows = list(_rows(pairs, plans, found))
    if len({row.family for row in rows}) < 2:
        why = "; ".join(f"{reason}: {count}" for reason, count in left_out.items()) or "there is no pair"
        raise InputError(f"a probe needs pairs under at least two notices ({why}); give more conversations")
    families = {name: i for i, name in enumerate(dict.fromkeys(row.family for row in rows))}
    return MatchedRows(
        activations=np.stack([row.vector for row in rows]),
        contexts=[row.context for row in rows],
        told=np.array([row.told for row in rows]),
        family=np.array([families[row.family] for row in rows], np.int64),
        pair=np.array([row.pair for row in rows], np.int64),
        token=np.array([row.token for row in rows], np.int64),
        left_out=left_out,
    )


@dataclass(frozen=True)
class _Row:
    vector: NDArray[np.float32]
    context: str
    told: bool
    family: str
    pair: int
    token: int


def _rows(
    pairs: Sequence[ToldPair], plans: dict[str, tuple[Replay, Ints]], found: dict[str, Captured]
) -> Iterator[_Row]:
    for key, (side, at) in plans.items():
        pair, name = int(key.split("-")[0]), key.split("-")[1]
        if (captured := found[key]).error is not None:
            raise InputError(f"a prompt of the probe could not be read: {captured.error}")
        for token, (position, vector) in enumerate(zip(at.tolist(), captured.activations, strict=True)):
            context = side.text[: int(side.char_end[position])]
            yield _Row(vector, context, name == "told", pairs[pair].told.family, pair, token)


def _after_notice(one: Replay, two: Replay) -> int:
    """Number of tokens with which both sides end, after the last message in which they differ."""
    size = min(len(one), len(two))
    differ = np.flatnonzero(one.token_ids[len(one) - size :] != two.token_ids[len(two) - size :])
    same = size - 1 - int(differ[-1]) if len(differ) else size
    if not 0 < same < len(one):
        return same
    message = one.message[len(one) - same - 1]
    return same - int((one.message[len(one) - same :] == message).sum()) if message >= 0 else same


def train_probe(rows: MatchedRows, pairs: Sequence[ToldPair], target: ReadTarget, layer: int, name: str) -> Probe:
    """Fit the probe on all rows. Its figures are of fits that have not seen the row's notice.

    Beside it stand a reader of the words and one of the characters of the text up to the same token, fitted and held
    out alike: a probe below them reads nothing that the text does not say (docs/method.md 4.17).
    """
    texts = {
        "words": readers.scores_of_texts(rows.contexts, rows.told, rows.family),
        "characters": readers.scores_of_characters(rows.contexts, rows.told, rows.family),
    }
    scores = {"probe": readers.scores_of_vectors(rows.activations, rows.told, rows.family), **texts}
    how = Resampling()
    fitted = readers.probe().fit(rows.activations.astype(np.float64), rows.told)
    scaler, linear = fitted[0], fitted[1]
    direction = linear.coef_[0] / scaler.scale_
    facts = ProbeFacts(
        target=target.hash,
        target_name=target.name,
        layer=layer,
        trained_on="the same conversation after a notice of evaluation and after another notice, at the same tokens",
        data=_hash(pairs),
        rows=len(rows.told),
        pairs=len(np.unique(rows.pair)),
        families=len(np.unique(rows.family)),
        readers={
            reader: auroc_shared_clusters(found.tolist(), rows.told.tolist(), rows.family.tolist(), how)
            for reader, found in scores.items()
        },
        paired=_above(scores["probe"], rows, how),
        licence=", ".join(sorted({pair.told.provenance.licence or "unknown" for pair in pairs})),
    )
    bias = float(linear.intercept_[0] - direction @ scaler.mean_)
    return Probe(name, direction.astype(np.float32), bias, facts)


def describe(probe: Probe) -> list[str]:
    """The facts of a probe as lines of text."""
    facts = probe.facts
    lines = [
        f"probe {probe.id}: target {facts.target_name} ({facts.target}), output of block {facts.layer}",
        f"trained on {facts.rows} rows of {facts.pairs} pairs under {facts.families} notices: {facts.trained_on}",
        f"data {facts.data}, licence {facts.licence or 'unknown'}",
        "AUROC on held-out notices, 95 % interval over notices:",
        *(f"  {name:<11}{said(found)}" for name, found in facts.readers.items()),
        f"told above the other side at the same token: {said(facts.paired)}",
    ]
    text = max((found.value or 0.0 for name, found in facts.readers.items() if name != "probe"), default=0.0)
    if (facts.readers["probe"].value or 0.0) <= text:
        lines.append("a reader of the text does as well: this probe shows no more than the text says")
    return lines


def said(found: Estimate) -> str:
    """An estimate as "0.71 [0.65, 0.79]", or why it has no interval."""
    if found.value is None:
        return f"withheld: {found.withheld}"
    if found.low is None or found.high is None:
        return f"{found.value:.2f} (no interval: {found.withheld})"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _above(scores: Floats, rows: MatchedRows, how: Resampling) -> Estimate:
    """Share of tokens at which the told side of a pair scores higher; half for a tie."""
    wins = [0.5 + 0.5 * float(np.sign(scores[told] - scores[other])) for told, other in rows.paired]
    return cluster_mean(wins, [int(rows.family[told]) for told, _ in rows.paired], how)


def _hash(pairs: Sequence[ToldPair]) -> str:
    lines = sorted(f"{pair.told.digest} {pair.untold.digest}" for pair in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
