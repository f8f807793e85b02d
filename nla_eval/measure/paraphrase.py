"""Paraphrase invariance of the AR. Each of fifty contexts of our own has a hand-written explanation and a paraphrase
that shares few words with it. An AR that reads meaning keeps its FVE on the paraphrase; one that looks up words does
not.

In: an engine. Out: `Condition`s; the unit is the context. The explanations are hand-written, not drawn. The drop is the
result; the level only says how well the AR reads this style."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.base import CaptureRequest, Engine
from ..errors import InputError
from ..models.scores import Baselines
from ..replay.replay import ReplayConfig, replay
from ..replay.types import Channel
from .ablation import Condition, condition, mse_nrm
from .figures import Ints
from .pair_files import paraphrase_data, written_transcript

LINES = 25
"""Number of records in three-line form. They come first; the others are prose."""


def paraphrased(engine: Engine, tokenizer: Any, baselines: Baselines, min_position: int) -> list[Condition]:
    """FVE of the explanations, their paraphrases and another context's paraphrase: over all fifty, then by style."""
    vectors, at = context_vectors(engine, tokenizer, min_position)
    n = len(at)
    if n < 2:
        return []
    records = [paraphrase_data()[i] for i in at.tolist()]
    made = engine.reconstruct([*(r["text"] for r in records), *(r["paraphrase"] for r in records)])
    own, other = mse_nrm(made[:n], vectors), mse_nrm(made[n:], vectors)
    elsewhere = mse_nrm(np.roll(made[n:], max(1, n // 4), axis=0), vectors)
    lines = at < LINES
    found = []
    for style, rows in (("", np.ones(n, bool)), (", three lines", lines), (", prose", ~lines)):
        for name, error in (("text", own), ("paraphrase", other), ("paraphrase of another", elsewhere)):
            kept = np.where(rows, error, np.nan)
            whole = None if error is own else own
            found.append(condition(f"{name}{style}", kept, whole, np.arange(n), baselines))
    return [c for c in found if c is not None]


def context_vectors(engine: Engine, tokenizer: Any, min_position: int) -> tuple[NDArray[np.float32], Ints]:
    """(activations (n, d_model) at the end of each context, their record numbers (n,)).

    Contexts that end before the pack's first position are left out.
    """
    requests = []
    for i, record in enumerate(paraphrase_data()):
        said = record["context"]
        answered = "assistant" in said
        transcript = written_transcript(
            f"paraphrase-{i}", user=said["user"], assistant=said.get("assistant", "Of course."),
            suite="paraphrase", family=str(i),
        )  # fmt: skip
        made = replay(transcript, tokenizer, ReplayConfig(max_tokens=1024))
        channel = Channel.RESPONSE if answered else Channel.USER
        at = int(np.flatnonzero(made.channel == channel)[-1])
        if at >= min_position:
            requests.append(CaptureRequest(str(i), made.token_ids, np.array([at])))
    found = {c.key: c for c in engine.capture(requests)}
    if fault := next((c.error for c in found.values() if c.error), None):
        raise InputError(f"a paraphrase context could not be read: {fault}; leave it out with --only")
    vectors = [found[r.key].activations[0] for r in requests]
    kept = np.array([int(r.key) for r in requests], np.int64)
    return np.stack(vectors) if vectors else np.empty((0, engine.d_model), np.float32), kept
