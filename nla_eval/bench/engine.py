"""The engine's three stages against the usual ways: a full causal LM forward, and `generate` of transformers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..engines.base import CaptureRequest, Sampling, VerbalizeRequest
from ..engines.config import EngineConfig
from ..engines.hf import TransformersEngine
from ..engines.loading import load_av, load_lm
from ..engines.side_by_side import Split
from ..engines.vllm.local import VllmConfig, VllmEngine
from ..models.pack import Pack
from ..models.target import Target
from .figures import Figure, race, ratio

_PEAK_SIZE = 2048
_USUAL_BATCH = 4
"""Sequences in a batch of the usual forward. With sixteen, the logits alone would take 1.6 GB."""


@dataclass(frozen=True)
class Load:
    """The timed workload. Inputs are random and seeded, so rates do not depend on data."""

    sequences: int = 8
    tokens: int = 512
    positions: int = 12
    explanations: int = 64
    alone: int = 4
    """Number of explanations in the one-by-one comparison."""
    max_new_tokens: int = 48
    rounds: int = 3
    seed: int = 0


def capture_requests(load: Load, vocabulary: int) -> list[CaptureRequest]:
    """Random sequences with evenly spaced positions; the last position is the last token."""
    rng = np.random.default_rng(load.seed)
    positions = np.linspace(load.tokens // load.positions, load.tokens - 1, load.positions).astype(np.int64)
    rows: NDArray[np.int32] = rng.integers(0, vocabulary, (load.sequences, load.tokens)).astype(np.int32)
    return [CaptureRequest(f"bench|{i}", row, np.unique(positions)) for i, row in enumerate(rows)]


def vectors(load: Load, width: int) -> NDArray[np.float32]:
    """(explanations, width) random vectors. Their length does not matter, because the AV rescales them."""
    return np.random.default_rng(load.seed).standard_normal((load.explanations, width)).astype(np.float32)


def verbalize_requests(load: Load, width: int) -> list[VerbalizeRequest]:
    """One request per vector."""
    return [VerbalizeRequest(f"bench|{i}", row, load.seed) for i, row in enumerate(vectors(load, width))]


class EngineBench:
    """Comparisons for one target and pack. Both sides of a comparison use `dtype`."""

    def __init__(self, target: Target, pack: Pack, load: Load, dtype: torch.dtype, split: Split | None = None) -> None:
        self.target, self.pack, self.load, self.dtype = target, pack, load, dtype
        self.engine = TransformersEngine(target, pack, EngineConfig(dtype, split=split))
        self.how = f"{str(dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads"
        self.how_drawn = f"{load.explanations} explanations of at most {load.max_new_tokens} tokens, {self.how}"
        vocabulary = int(target.config.vocab_size)
        self.captures = capture_requests(load, vocabulary)
        self.asked = verbalize_requests(load, self.engine.d_model)
        self.sampling = Sampling(1.0, load.max_new_tokens)

    def stage(self, name: str) -> Callable[[], Any]:
        """A function that runs the engine's stage `name` once on this load."""
        texts = ["The speaker asks for a plan; next comes a list of dates."] * self.load.explanations
        return {
            "capture": lambda: list(self.engine.capture(self.captures)),
            "verbalize": lambda: list(self.engine.verbalize(self.asked, self.sampling)),
            "reconstruct": lambda: self.engine.reconstruct(texts),
        }[name]

    def capture(self) -> dict[str, Figure]:
        """Our capture (blocks 0..K, sampled rows) against a forward of the whole model."""
        load, model = self.load, load_lm(self.target.path, self.dtype)
        ids: Any = torch.tensor(np.stack([r.token_ids for r in self.captures]), dtype=torch.long)

        @torch.inference_mode()
        def usual(logits: int) -> None:
            for part in torch.split(ids, _USUAL_BATCH):
                model(part, use_cache=False, output_hidden_states=True, logits_to_keep=logits)

        list(self.engine.capture(self.captures[:1]))
        usual(1)
        count = load.sequences * load.tokens
        ways: dict[str, Any] = {
            "ours": (lambda: list(self.engine.capture(self.captures)), count),
            "all": (lambda: usual(0), count),
            "one": (lambda: usual(1), count),
        }
        rates = race(ways, load.rounds)
        how = f"{load.sequences} x {load.tokens} tokens, {self.how}"
        return {
            "capture_vs_full_logits": ratio(rates["ours"], rates["all"], "tokens/s", how),
            "capture_vs_single_logit": ratio(rates["ours"], rates["one"], "tokens/s", how),
        }

    def verbalize(self, key: str, *, one_by_one: bool) -> dict[str, Figure]:
        """Our batches with a shared prompt against `generate`. `key` names the batched comparison."""
        model = load_av(self.target.path, self.pack.av_path, self.dtype)
        embeddings = self._embeddings(model)
        load = self.load

        @torch.inference_mode()
        def generate(size: int, count: int) -> None:
            for part in torch.split(embeddings[:count], size):
                mask = torch.ones(part.shape[:2], dtype=torch.long)
                model.generate(
                    inputs_embeds=part, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                    max_new_tokens=load.max_new_tokens, pad_token_id=self.target.tokenizer.eos_token_id,
                )  # fmt: skip

        list(self.engine.verbalize(self.asked[:2], self.sampling))
        ways: dict[str, Any] = {
            "ours": (lambda: list(self.engine.verbalize(self.asked, self.sampling)), load.explanations),
            "batched": (lambda: generate(load.explanations, load.explanations), load.explanations),
        }
        if one_by_one:
            ways["alone"] = (lambda: generate(1, load.alone), load.alone)
        rates = race(ways, load.rounds)
        found = {key: ratio(rates["ours"], rates["batched"], "explanations/s", self.how_drawn)}
        if one_by_one:
            found["verbalize_vs_one_by_one"] = ratio(rates["ours"], rates["alone"], "explanations/s", self.how_drawn)
        return found

    def reconstruct(self) -> dict[str, Figure]:
        """Our batches of texts of similar length against one text at a time."""
        drawn = [d.text or "a chat" for d in self.engine.verbalize(self.asked, self.sampling)]
        self.engine.reconstruct(drawn[:1])
        few = drawn[: 4 * self.load.alone]
        ways: dict[str, Any] = {
            "ours": (lambda: self.engine.reconstruct(drawn), len(drawn)),
            "alone": (lambda: [self.engine.reconstruct([text]) for text in few], len(few)),
        }
        rates = race(ways, self.load.rounds)
        how = f"{len(drawn)} explanations, {self.how}"
        return {"ar_vs_one_by_one": ratio(rates["ours"], rates["alone"], "explanations/s", how)}

    def against_vllm(self) -> dict[str, Figure]:
        """vLLM in this process against ours, on the same vectors. Raises MissingExtraError without vLLM."""
        vllm = VllmEngine(self.target, self.pack, VllmConfig(max_model_len=1024), EngineConfig(self.dtype))
        list(vllm.verbalize(self.asked[:2], self.sampling))
        list(self.engine.verbalize(self.asked[:2], self.sampling))
        ways: dict[str, Any] = {
            "ours": (lambda: list(self.engine.verbalize(self.asked, self.sampling)), len(self.asked)),
            "vllm": (lambda: list(vllm.verbalize(self.asked, self.sampling)), len(self.asked)),
        }
        rates = race(ways, self.load.rounds)
        vllm.release()
        return {"vllm_vs_ours": ratio(rates["ours"], rates["vllm"], "explanations/s", self.how_drawn)}

    def peak_fractions(self) -> dict[str, Figure]:
        """Share of the peak rate of a matrix product, on one thread. Only operations with weights are counted."""
        with threads(1):
            peak = peak_gflops(self.dtype)
            engine = TransformersEngine(self.target, self.pack, EngineConfig(self.dtype, split=Split()))
            body, head = weights_of(engine)
            requests = self.captures[: max(1, len(self.captures) // 2)]
            list(engine.capture(requests[:1]))
            list(engine.verbalize(self.asked[:1], Sampling(1.0, 2)))
            began = time.perf_counter()
            list(engine.capture(requests))
            reading = 2e-9 * body["trunk"] * sum(len(r.token_ids) for r in requests) / (time.perf_counter() - began)
            began = time.perf_counter()
            drawn = list(engine.verbalize(self.asked, replace(self.sampling, max_new_tokens=16)))
            steps = sum(d.tokens for d in drawn)
            prompt = (len(engine.prompt.suffix) - 1) * len(drawn)
            operations = 2e-9 * ((body["av"] + head) * steps + body["av"] * prompt)
            decoding = operations / (time.perf_counter() - began)
        how = f"{str(self.dtype).removeprefix('torch.')}, one thread, peak {peak:.0f} GFLOP/s"
        return {
            "decode_peak_fraction_bf16": Figure(decoding / peak, decoding, peak, "GFLOP/s", how),
            "prefill_peak_fraction_bf16": Figure(reading / peak, reading, peak, "GFLOP/s", how),
        }

    @torch.inference_mode()
    def _embeddings(self, model: Any) -> torch.Tensor:
        """(n, S, d) embeddings of the whole AV prompt, with each vector in its slot."""
        prompt = self.engine.prompt
        before = model.get_input_embeddings()(torch.tensor([prompt.prefix])).expand(len(self.asked), -1, -1)
        return torch.cat([before, self.engine.decoder.embeddings(self.asked)], dim=1)


def weights_of(engine: TransformersEngine) -> tuple[dict[str, int], int]:
    """(number of weights per token in the trunk and in the AV, number of weights in the AV's head)."""
    head = engine.decoder.model.get_output_embeddings().weight.numel()
    bodies = {"trunk": engine.trunk, "av": getattr(engine.decoder.model, "model", engine.decoder.model)}
    return {
        name: sum(m.in_features * m.out_features for m in body.layers.modules() if isinstance(m, torch.nn.Linear))
        for name, body in bodies.items()
    }, head


def peak_gflops(dtype: torch.dtype, repeats: int = 5) -> float:
    """GFLOP/s of the fastest of `repeats` square matrix products, at the current thread count."""
    a, b = (torch.randn(_PEAK_SIZE, _PEAK_SIZE).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2e-9 * _PEAK_SIZE**3 / best


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of torch threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
