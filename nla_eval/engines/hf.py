"""The transformers engine: capture with a trunk that stops at block K, verbalize in batches over a shared prompt
prefix, reconstruct in right-padded batches. Weights load on first use of each part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from ..errors import PackError
from ..pack import Pack
from ..prompts import ar_text
from ..target import Target
from .base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from .decoding import Decoder
from .loading import load_av, load_reconstructor, load_trunk
from .one_step import GROUPED
from .side_by_side import Split, checkpoint, measured_split, side_by_side

_AHEAD = 4


@dataclass(frozen=True)
class EngineConfig:
    """How weights are run. Nothing here changes a result in fp32 beyond rounding."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    attention: str = "sdpa"
    split: Split | None = None
    """How a CPU's cores are shared among batches; None measures it once the trunk is loaded."""
    batch_tokens: int = 8192
    """Padded tokens of the capture batches that run together."""
    chunk_tokens: int = 2048
    """Longer transcripts are read in chunks of this many tokens with a KV cache."""
    verbalize_batch: int = 256
    """Explanations drawn together, in all batches that run side by side."""
    reconstruct_batch: int = 64
    """Explanations of one batch."""


class TransformersEngine:
    """Implements `engines.base.Engine` on PyTorch.

    Args:
        target: The model being read.
        pack: Its NLA pack; checked against the target before anything is loaded.

    Raises:
        PackError: The pack does not belong to the target.
    """

    def __init__(self, target: Target, pack: Pack, config: EngineConfig | None = None) -> None:
        self.target, self.pack, self.config = target, pack, config or EngineConfig()
        self.layer, self.d_model = pack.layer, pack.d_model
        self.prompt = pack.check_target(target)

    @cached_property
    def _trunk(self) -> Any:
        path, config = self.target.path, self.config
        trunk = load_trunk(path, self.layer, config.dtype, config.attention, trust=self.target.trust_remote_code)
        return trunk.to(config.device)

    @cached_property
    def _split(self) -> Split:
        """On an accelerator one batch at a time; random numbers and results do not depend on it."""
        if self.config.split is not None:
            return self.config.split
        if self.config.device != "cpu":
            return Split()
        return measured_split(self._trunk, torch.get_num_threads())

    @cached_property
    def _decoder(self) -> Decoder:
        attention = GROUPED if self.config.attention == "sdpa" else self.config.attention
        model = load_av(self.target.path, self.pack.av_path, self.config.dtype, attention)
        scale = self.pack.av.injection_scale
        if scale is None:
            raise PackError(f"pack '{self.pack.name}' states no injection_scale; its AV cannot be run")
        return Decoder(model.to(self.config.device), self.target.tokenizer, self.prompt, scale)

    @cached_property
    def _reconstructor(self) -> tuple[Any, torch.Tensor]:
        config = self.config
        trunk, head = load_reconstructor(
            self.target.path, self.pack.ar_path, self.layer, config.dtype, config.attention
        )
        if tuple(head.shape) != (self.d_model, self.d_model):
            raise PackError(f"value head is {tuple(head.shape)}, expected ({self.d_model}, {self.d_model})")
        return trunk.to(config.device), head.to(config.device)

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Activations of each request, batched by padded length; long ones alone, in chunks.

        A request that cannot be read (positions outside, non-finite activations) comes back with its error.
        """
        split = self._split
        for captured in side_by_side(self._capture_jobs(requests, split.workers), split):
            yield from captured

    def _capture_jobs(self, requests: Iterable[CaptureRequest], workers: int) -> Iterator[Callable[[], list[Captured]]]:
        waiting: list[CaptureRequest] = []
        for request in requests:
            if fault := _fault(request):
                yield partial(list, [Captured(request.key, np.empty((0, self.d_model), np.float32), fault)])
            elif len(request.token_ids) > self.config.chunk_tokens:
                yield partial(self._chunked, request)
            else:
                waiting.append(request)
                if sum(len(r.token_ids) for r in waiting) >= _AHEAD * self.config.batch_tokens:
                    yield from self._batched(waiting, workers)
                    waiting = []
        yield from self._batched(waiting, workers)

    def _batched(self, requests: list[CaptureRequest], workers: int) -> Iterator[Callable[[], list[Captured]]]:
        """Batches of similar length, the longest first, so that the last ones to end are short."""
        bound = self.config.batch_tokens // workers
        batch: list[CaptureRequest] = []
        for request in sorted(requests, key=lambda r: -len(r.token_ids)):
            if batch and (len(batch) + 1) * len(batch[0].token_ids) > bound:
                yield partial(self._forward, batch)
                batch = []
            batch.append(request)
        if batch:
            yield partial(self._forward, batch)

    @torch.inference_mode()
    def _forward(self, batch: list[CaptureRequest]) -> list[Captured]:
        ids = [torch.from_numpy(r.token_ids.astype(np.int64)) for r in batch]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.config.device)
        hidden = self._trunk(input_ids=padded, use_cache=False).last_hidden_state
        return [
            self._checked(r, hidden[row, torch.from_numpy(r.positions)].float().cpu().numpy())
            for row, r in enumerate(batch)
        ]

    @torch.inference_mode()
    def _chunked(self, request: CaptureRequest) -> list[Captured]:
        ids = torch.from_numpy(request.token_ids.astype(np.int64))[None].to(self.config.device)
        end = int(request.positions[-1]) + 1
        cache = DynamicCache(config=self._trunk.config)
        kept = []
        for start in range(0, end, self.config.chunk_tokens):
            checkpoint()
            stop = min(start + self.config.chunk_tokens, end)
            hidden = self._trunk(input_ids=ids[:, start:stop], past_key_values=cache, use_cache=True).last_hidden_state[
                0
            ]
            inside = request.positions[(request.positions >= start) & (request.positions < stop)] - start
            kept.append(hidden[torch.from_numpy(inside)].float().cpu().numpy())
        return [self._checked(request, np.concatenate(kept))]

    def _checked(self, request: CaptureRequest, rows: NDArray[np.float32]) -> Captured:
        if not np.isfinite(rows).all():
            empty = np.empty((0, self.d_model), np.float32)
            return Captured(
                request.key, empty, f"non-finite activation; read the target in float32 instead of {self.config.dtype}"
            )
        return Captured(request.key, rows)

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Draw one explanation per request, in batches whatever transcript they came from."""
        decoder, split = self._decoder, self._split
        size = max(1, self.config.verbalize_batch // split.workers)
        jobs = (partial(decoder.draw, requests[s : s + size], sampling) for s in range(0, len(requests), size))
        for drawn in side_by_side(jobs, split):
            yield from drawn

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The AR's vectors (n, d_model), read at its template's last token; special tokens as the tokenizer adds."""
        encoded = [self.target.tokenizer(ar_text(self.pack.ar, text))["input_ids"] for text in texts]
        out = np.empty((len(texts), self.d_model), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        size, parts = self.config.reconstruct_batch, self._reconstructor
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        jobs = (partial(self._reconstructed, parts, rows, [encoded[i] for i in rows]) for rows in batches)
        for rows, vectors in side_by_side(jobs, self._split):
            out[rows] = vectors
        return out

    @torch.inference_mode()
    def _reconstructed(
        self, parts: tuple[Any, torch.Tensor], rows: list[int], encoded: list[list[int]]
    ) -> tuple[list[int], NDArray[np.float32]]:
        """(`rows`, their vectors (n, d_model))"""
        trunk, head = parts
        ids = [torch.tensor(row) for row in encoded]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.config.device)
        hidden = trunk(input_ids=padded, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])]
        return rows, (last.float() @ head.float().T).cpu().numpy()

    def self_test(self) -> str:
        """Run the start-up self-test; returns one line of what was found. Raises PackError (fails closed)."""
        from .self_test import self_test

        return self_test(self)


def _fault(request: CaptureRequest) -> str | None:
    if len(request.positions) == 0:
        return "no positions to read"
    if request.positions[0] < 0 or request.positions[-1] >= len(request.token_ids):
        return f"position {int(request.positions[-1])} is outside the {len(request.token_ids)} tokens of the replay"
    return None


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) for X ~ Binomial(trials, chance)."""
    return sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(successes, trials + 1))
