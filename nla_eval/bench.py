"""`make bench`: how fast this machine captures, verbalizes and reconstructs, and what stopping at block K saves.

In: an engine; for the comparison, the whole model. Out: rates, printed as a table. Inputs are random tokens and
vectors, so rates do not depend on any data."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engines.base import CaptureRequest, Engine, Sampling, VerbalizeRequest
from .errors import NlaEvalError


@dataclass(frozen=True)
class Load:
    """What a stage is timed on."""

    sequences: int = 16
    tokens: int = 512
    positions: int = 12
    explanations: int = 64
    max_new_tokens: int = 80
    seed: int = 0


@dataclass(frozen=True)
class Rate:
    """One timed stage."""

    stage: str
    count: int
    unit: str
    seconds: float

    @property
    def per_second(self) -> float:
        """Units a second."""
        return self.count / max(self.seconds, 1e-9)


def measure(engine: Engine, load: Load, vocabulary: int, norm: float) -> list[Rate]:
    """Rates of the engine's three stages, each after one unmeasured warm-up call.

    Args:
        engine: Whose.
        load: How much.
        vocabulary: Token ids are drawn below this.
        norm: L2 norm of the random vectors that are verbalized, raw scale.
    """
    rng = np.random.default_rng(load.seed)
    requests = capture_requests(load, vocabulary)
    vectors = rng.standard_normal((load.explanations, engine.d_model)).astype(np.float32)
    vectors *= norm / np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = [VerbalizeRequest(f"bench|{i}", vector, load.seed) for i, vector in enumerate(vectors)]
    sampling = Sampling(1.0, load.max_new_tokens)
    texts = [draw.text or "a chat" for draw in engine.verbalize(asked[:1], sampling)] * load.explanations
    list(engine.capture(requests[:1]))
    engine.reconstruct(texts[:1])
    tokens = load.sequences * load.tokens
    return [
        _timed("capture, blocks 0..K", tokens, "tokens", lambda: list(engine.capture(requests))),
        _timed("verbalize", len(asked), "explanations", lambda: list(engine.verbalize(asked, sampling))),
        _timed("reconstruct", len(texts), "explanations", lambda: engine.reconstruct(texts)),
    ]


def capture_requests(load: Load, vocabulary: int) -> list[CaptureRequest]:
    """Random sequences with evenly spaced positions, the last one at the end."""
    rng = np.random.default_rng(load.seed)
    positions = np.linspace(load.tokens // load.positions, load.tokens - 1, load.positions).astype(np.int64)
    rows: NDArray[np.int32] = rng.integers(0, vocabulary, (load.sequences, load.tokens)).astype(np.int32)
    return [CaptureRequest(f"bench|{i}", row, np.unique(positions)) for i, row in enumerate(rows)]


def measure_full_forward(model: Any, load: Load, vocabulary: int) -> Rate:
    """The usual way: the whole causal LM with `output_hidden_states=True`, in batches of four."""
    import torch

    rows: Any = torch.tensor(np.stack([r.token_ids for r in capture_requests(load, vocabulary)]), dtype=torch.long)

    def forward(batch: Any) -> None:
        with torch.inference_mode():
            for part in batch.split(4):
                model(part, output_hidden_states=True, use_cache=False)

    forward(rows[:1])
    tokens = load.sequences * load.tokens
    return _timed("whole model, all hidden states", tokens, "tokens", lambda: forward(rows))


def table(rates: Sequence[Rate]) -> str:
    """Rates as a Markdown table."""
    lines = ["| stage | n | seconds | per second |", "|---|---:|---:|---:|"]
    lines += [f"| {r.stage} | {r.count} {r.unit} | {r.seconds:.1f} | {r.per_second:,.1f} |" for r in rates]
    return "\n".join(lines)


def _timed(stage: str, count: int, unit: str, run: Callable[[], Any]) -> Rate:
    began = time.perf_counter()
    run()
    return Rate(stage, count, unit, time.perf_counter() - began)


def main() -> None:
    """Time the default target and pack, or those named."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.bench", description=main.__doc__)
    parser.add_argument("--target", default="smollm2-135m")
    parser.add_argument("--pack")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--sequences", type=int, default=Load.sequences)
    args = parser.parse_args()
    from .engines.loading import load_lm
    from .runtime import RuntimeSettings, runtime_for, torch_dtype

    try:
        runtime = runtime_for(RuntimeSettings(target=args.target, pack=args.pack, dtype=args.dtype))
        load, vocabulary = Load(sequences=args.sequences), int(runtime.target.config.vocab_size)
        rates = measure(runtime.engine, load, vocabulary, norm=float(runtime.engine.d_model) ** 0.5 * 10)
        model = load_lm(runtime.target.path, torch_dtype(args.dtype))
    except NlaEvalError as err:
        raise SystemExit(f"bench: {err}") from None
    print(table([*rates, measure_full_forward(model, load, vocabulary)]))


if __name__ == "__main__":
    main()
