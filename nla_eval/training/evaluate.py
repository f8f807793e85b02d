"""Measures a pack on held-out positions: the figures of its card, each with an interval and n.

Intervals are percentile cluster bootstraps over conversations. Controls stand beside every figure: empty, constant and
shuffled explanations, every word of the recent context masked, and a raw text tail of equal length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Engine, Sampling, VerbalizeRequest
from ..readings import StopReason
from ..scores import Baselines, normalised

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_WORDS = re.compile(r"\w+")
_EXPECTED = re.compile(r"next:\s*(\S+)")
RETRIEVAL = 128
_RECENT_CHARACTERS = 400


@dataclass(frozen=True)
class Figure:
    """One figure of a card."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        """Rounded for card.json."""
        return {"value": round(self.value, 4), "interval": [round(self.low, 4), round(self.high, 4)], "n": self.n}  # type: ignore[dict-item]


@dataclass(frozen=True)
class HeldOut:
    """Held-out positions, row by row."""

    activations: NDArray[np.float32]
    """(n, d_model)"""
    references: list[str]
    """Warm-start explanations."""
    recent: list[str]
    """The last 30 context tokens of each position, as text."""
    tails: list[str]
    """The last n context tokens, n = the reference explanation's length in tokens."""
    next_token: list[str]
    """The target's most likely next token, as an explanation shows it."""
    conversation: Ints
    """(n,) cluster of each row."""


@dataclass(frozen=True)
class Measured:
    """What was found."""

    figures: dict[str, Figure]
    controls: dict[str, Figure]
    explanations: list[str]


def figure(values: Floats, clusters: Ints, seed: int = 0, draws: int = 2000) -> Figure:
    """Mean with a percentile cluster-bootstrap interval."""
    names, inverse = np.unique(clusters, return_inverse=True)
    sums = np.bincount(inverse, weights=values, minlength=len(names))
    counts = np.bincount(inverse, minlength=len(names))
    picks = np.random.default_rng(seed).integers(0, len(names), size=(draws, len(names)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(float(values.mean()), float(low), float(high), len(values))


def masked(explanation: str, recent: str) -> str:
    """The explanation with every word that also stands in the recent context replaced by "…"."""
    seen = {w.lower() for w in _WORDS.findall(recent)}
    return _WORDS.sub(lambda m: "…" if m[0].lower() in seen else m[0], explanation)


def names_next(explanation: str, token: str) -> bool:
    """Whether the first token the explanation expects is `token`, as an explanation shows it."""
    said = _EXPECTED.search(explanation)
    return said is not None and said[1] == token


def measure(engine: Engine, held: HeldOut, baselines: Baselines, max_new_tokens: int) -> Measured:
    """Verbalize every held-out activation greedily and score all of it."""
    sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
    requests = [VerbalizeRequest(str(i), v) for i, v in enumerate(held.activations)]
    drawn = {d.key: d for d in engine.verbalize(requests, sampling)}
    draws = [drawn[r.key] for r in requests]
    texts = [d.text for d in draws]
    n = len(texts)
    other = np.roll(np.arange(n), n // 2)
    constant = Counter(texts).most_common(1)[0][0]
    vectors = engine.reconstruct(texts)

    def mse(candidates: Sequence[str]) -> Floats:
        return _mse(engine.reconstruct(candidates), held.activations)

    own, shuffled = _mse(vectors, held.activations), _mse(vectors[other], held.activations)
    reference = mse(held.references)
    nrm: Callable[[Floats], Floats] = lambda e: 1.0 - e / baselines.variance  # noqa: E731
    meannorm: Callable[[Floats], Floats] = lambda e: 1.0 - e / baselines.meannorm  # noqa: E731
    agrees = [names_next(t, token) for t, token in zip(texts, held.next_token, strict=True)]
    hidden = mse([masked(t, r) for t, r in zip(texts, held.recent, strict=True)])
    closed = np.array([d.stop is StopReason.CLOSED for d in draws], float)

    def of(values: Floats) -> Figure:
        return figure(values, held.conversation)

    return Measured(
        figures={
            "ar_reference_fve_nrm": of(nrm(reference)),
            "round_trip_fve_nrm": of(nrm(own)),
            "round_trip_fve_meannorm": of(meannorm(own)),
            "masked_overlap_fve_meannorm": of(meannorm(hidden)),
            "tail_baseline_fve_meannorm": of(meannorm(mse(held.tails))),
            "retrieval_top1_of_128": of(_retrieval(vectors, held.activations)),
            "beats_shuffled": of((own < shuffled).astype(float)),
            "next_token_agreement": of(np.array(agrees, float)),
            "closed_rate": of(closed),
        },
        controls={
            "empty_fve_meannorm": of(meannorm(mse([""] * n))),
            "constant_fve_meannorm": of(meannorm(mse([constant] * n))),
            "shuffled_fve_meannorm": of(meannorm(shuffled)),
            "reference_fve_meannorm": of(meannorm(reference)),
            "reference_masked_overlap_fve_meannorm": of(
                meannorm(mse([masked(t, r) for t, r in zip(held.references, held.recent, strict=True)]))
            ),
        },
        explanations=texts,
    )


def _mse(predicted: NDArray[np.float32], actual: NDArray[np.float32]) -> Floats:
    return np.asarray(2.0 * (1.0 - np.einsum("nd,nd->n", normalised(predicted), normalised(actual))))


def _retrieval(vectors: NDArray[np.float32], activations: NDArray[np.float32]) -> Floats:
    """(m,) whether each row's reconstruction is nearest, mean-centred, to its own among its group of 128."""
    centre = normalised(activations).mean(axis=0)
    ours, theirs = normalised(vectors) - centre, normalised(activations) - centre
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    hits = np.full(len(ours), np.nan)
    order = np.random.default_rng(0).permutation(len(ours))
    groups = [order[s : s + RETRIEVAL] for s in range(0, len(order) - RETRIEVAL + 1, RETRIEVAL)] or [order]
    for group in groups:
        hits[group] = np.argmax(ours[group] @ theirs[group].T, axis=1) == np.arange(len(group))
    return np.asarray(np.nan_to_num(hits, nan=float(np.nanmean(hits))))


def longest_shared_run(
    texts: Sequence[str], training: Sequence[str], own_context: Sequence[str], most: int = 16
) -> tuple[int, str]:
    """Longest run of words of any text that stands in the training text and not in its own context: (words, run)."""
    sources = [_WORDS.findall(t.lower()) for t in training]
    best = (0, "")
    for length in range(2, most + 1):
        known = {hash(tuple(w[i : i + length])) for w in sources for i in range(len(w) - length + 1)}
        found = ""
        for text, context in zip(texts, own_context, strict=True):
            words = _WORDS.findall(text.split("after:")[-1].split("\nabout:")[0].lower())
            around = " ".join(_WORDS.findall(context.lower()))
            for i in range(len(words) - length + 1):
                run = words[i : i + length]
                if hash(tuple(run)) in known and " ".join(run) not in around:
                    found = " ".join(run)
        if not found:
            return best
        best = (length, found)
    return best
