"""The start-up self-test of an engine. Silent non-injection is the most common serious bug in the field.

It uses vectors stored in the pack, or vectors captured from built-in sentences if the pack has none. It checks that the
target's block K gives the stored vectors and norms, that the AR finds 20 vectors from their explanations above chance,
and that the text without injection differs. A failed check raises PackError."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..errors import PackError
from ..models.pack import Pack
from ..models.scores import normalised
from ..models.target import Target
from .base import CaptureRequest, Engine, Sampling, VerbalizeRequest

FILE = "self_test.safetensors"
VECTORS = 20
_P_MAX = 0.01
_ADAPTED_TOLERANCE = 0.25
"""An audited variant differs from the base that the pack was trained on; another layer still gives over 0.3."""
_CAPTURE_TOLERANCE = 0.02  # bf16 against fp32 at layer 20 stays below 0.002 in mse_nrm; another layer gives over 0.3

_SENTENCES = (
    "The recipe says to whisk the eggs with sugar until they are pale, then fold in the flour and",
    "def mean(values):\n    total = 0\n    for value in values:\n        total +=",
    "Dear Mr Hall, thank you for your letter of the third of May. We are sorry to hear that the",
    "In 1969 the first people walked on the surface of the",
    "To reset your password, open the settings menu, choose account and then click on",
    "The patient reports pain in the left knee that gets worse when climbing",
    "Once upon a time, in a small village at the edge of a dark forest, there lived an old",
    "The derivative of x squared with respect to x is two times",
    "SELECT name, price FROM products WHERE price > 100 ORDER BY",
    "Our quarterly revenue grew by twelve per cent, driven mainly by strong demand in the Asian",
    "The goalkeeper dived to his right, but the ball went in off the left",
    "Photosynthesis turns carbon dioxide and water into sugar, using energy from the",
    "My favourite thing about the city is the food: there are markets on every corner that sell fresh",
    "Tomorrow will be cloudy in the north with some rain towards the",
    "<ul>\n  <li>Apples</li>\n  <li>Pears</li>\n  <li>",
    "The court finds that the defendant failed to deliver the goods as agreed in the",
    "Take a deep breath, close your eyes and let your shoulders",
    "The violin and the cello play the theme together before the full orchestra joins",
    "If you want to learn a new language, practise a little every day and speak with native",
    "The train to Edinburgh leaves from platform nine at half past",
)


class PackEngine(Engine, Protocol):
    """An engine with its target and pack."""

    target: Target
    pack: Pack


@dataclass(frozen=True)
class KnownVectors:
    """Vectors with the token ids and positions they were captured at."""

    token_ids: list[NDArray[np.int32]]
    positions: NDArray[np.int64]
    vectors: NDArray[np.float32]
    """(n, d_model), raw scale."""


def write_known(pack_folder: str, known: KnownVectors) -> None:
    """Store known vectors beside a pack's weights, in float16 if the values fit. Gemma 3 12B reaches 106,000 in one
    dimension at ordinary positions; float16 ends at 65,504."""
    fits = np.abs(known.vectors).max(initial=0.0) <= np.finfo(np.float16).max
    lengths = np.array([len(ids) for ids in known.token_ids], np.int64)
    save_file(
        {
            "token_ids": np.concatenate(known.token_ids).astype(np.int32),
            "lengths": lengths,
            "positions": known.positions,
            "vectors": known.vectors.astype(np.float16 if fits else np.float32),
        },
        f"{pack_folder}/{FILE}",
    )


def read_known(pack: Pack) -> KnownVectors | None:
    """The pack's known vectors; None if it has none."""
    path = pack.path / FILE
    if not path.is_file():
        return None
    data = load_file(path)
    split = np.split(data["token_ids"], np.cumsum(data["lengths"])[:-1])
    return KnownVectors(split, data["positions"], data["vectors"].astype(np.float32))


def self_test(engine: PackEngine, *, captures_only: bool = False) -> str:
    """Run every check. Returns one line of findings. Raises PackError naming the failed check.

    Args:
        engine: The engine to test.
        captures_only: Whether to check only what it captures.
    """
    known = read_known(engine.pack)
    captured = _capture(engine, known)
    if known is not None:
        adapted = engine.target.adapter is not None
        _check_capture(known.vectors, captured, _ADAPTED_TOLERANCE if adapted else _CAPTURE_TOLERANCE)
    _check_norms(engine.pack, captured)
    if captures_only:
        return f"{len(captured)} known activations captured"
    sampling = Sampling(temperature=0.0, max_new_tokens=engine.pack.max_new_tokens)
    *texts, silent = _explain(engine, [*captured, None], sampling)
    if sum(text == silent for text in texts) > len(texts) // 4 or len(set(texts)) < len(texts) // 2:
        raise PackError(
            f"pack '{engine.pack.name}': injection changes nothing ({len(set(texts))} different texts for {len(texts)} "
            "vectors); the AV is reading the marker character, "
            "not the activation. Give the pack's own target, or fetch the pack again"
        )
    return _check_retrieval(engine, texts, captured)


def _capture(engine: PackEngine, known: KnownVectors | None) -> NDArray[np.float32]:
    if known is None:
        ids = _built_in(engine.target.tokenizer, engine.pack.min_position)
        at = np.array([len(i) - 1 for i in ids], np.int64)
    else:
        ids, at = known.token_ids, known.positions
    requests = [CaptureRequest(str(i), t, at[i : i + 1]) for i, t in enumerate(ids)]
    found = {c.key: c for c in engine.capture(requests)}
    if fault := next((c.error for c in found.values() if c.error), None):
        raise PackError(f"self-test could not read the target: {fault}; give another target or dtype")
    return np.concatenate([found[str(i)].activations for i in range(len(ids))])


def _built_in(tokenizer: Any, first: int) -> list[NDArray[np.int32]]:
    """Token ids of each built-in sentence, preceded by as many other sentences as needed to put its last token at
    position `first` or later. The pack was not trained on earlier positions."""
    found = []
    for last in range(VECTORS):
        ids, text, before = tokenizer(_SENTENCES[last])["input_ids"], _SENTENCES[last], 1
        while len(ids) <= first and before < VECTORS:
            text = f"{_SENTENCES[last - before]}\n\n{text}"
            ids, before = tokenizer(text)["input_ids"], before + 1
        found.append(np.array(ids, np.int32))
    return found


def _check_capture(stored: NDArray[np.float32], captured: NDArray[np.float32], tolerance: float) -> None:
    error = 2.0 * (1.0 - np.einsum("nd,nd->n", normalised(stored), normalised(captured)))
    if error.max() > tolerance:
        raise PackError(
            f"the target's activations differ from those the pack was trained on (mse_nrm {error.max():.3f}, allowed "
            f"{tolerance}): another model, another layer or another "
            "tokenizer; give the target that the pack was trained on"
        )


def _check_norms(pack: Pack, captured: NDArray[np.float32]) -> None:
    if pack.av.norm_range is None:
        return
    low, high = pack.av.norm_range
    median = float(np.median(np.linalg.norm(captured, axis=1)))
    if not 0.5 * low <= median <= 2.0 * high:
        raise PackError(
            f"activation norms are around {median:.0f}, the pack was trained on {low:.0f} to {high:.0f}; "
            "give the target that the pack was trained on"
        )


def _explain(engine: PackEngine, vectors: Sequence[NDArray[np.float32] | None], sampling: Sampling) -> list[str]:
    requests = [VerbalizeRequest(f"self-test-{i}", v) for i, v in enumerate(vectors)]
    drawn = {d.key: d.text for d in engine.verbalize(requests, sampling)}
    return [drawn[r.key] for r in requests]


def _check_retrieval(engine: PackEngine, texts: list[str], vectors: NDArray[np.float32]) -> str:

    centre = normalised(vectors).mean(axis=0)
    ours, theirs = normalised(engine.reconstruct(texts)) - centre, normalised(vectors) - centre
    hits = int((np.argmax(ours @ theirs.T, axis=1) == np.arange(len(texts))).sum())
    p = binomial_tail(hits, len(texts), 1.0 / len(texts))
    if p >= _P_MAX:
        raise PackError(
            f"pack '{engine.pack.name}': the AR finds {hits} of {len(texts)} vectors from their explanations "
            f"(p = {p:.2g}, needed < {_P_MAX}); AV and AR do not work together on this target; "
            "give the pair's own target, or fetch the pack again"
        )
    return f"self-test passed: {hits}/{len(texts)} vectors retrieved from their explanations (p = {p:.1g})"


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) for X ~ Binomial(trials, chance)."""
    return sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(successes, trials + 1))
