"""Capture: one forward through a trunk that stops at block K. Only the rows of sampled positions are kept.

Transcripts of similar length share a batch within a token budget. A transcript longer than a chunk is read alone, with
a KV cache. This module knows no packs and no stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from .base import Captured, CaptureRequest
from .config import EngineConfig
from .fitting import fitting, out_of_memory, release_memory, slices
from .side_by_side import Split, checkpoint, streamed

_AHEAD = 4
"""Transcripts are sorted by length in groups of this many token budgets."""
_SHORTEST_CHUNK = 256
_MASKED = 2**23
"""Largest number of cells in an attention mask. Later chunks need a mask, of their tokens by all tokens so far."""


def capture(
    trunk: Any, requests: Iterable[CaptureRequest], config: EngineConfig, split: Split | None = None
) -> Iterator[Captured]:
    """Capture the activations of each request; results come in any order.

    A request that cannot be read (a position out of range, a non-finite activation) returns with an error.

    Args:
        trunk: Blocks 0..K, with the identity as final norm; (1, T) ids -> `last_hidden_state` (1, T, d).
        requests: Read lazily, a few token budgets ahead.
        config: Token budget, chunk length and device.
        split: How batches share the CPU; None runs one batch at a time.
    """
    reader = _Reader(trunk, config)
    split = split or Split()
    yield from streamed(reader.jobs(requests, split.workers), split)


class _Reader:
    def __init__(self, trunk: Any, config: EngineConfig) -> None:
        self.trunk, self.config = trunk, config
        self.none = np.empty((0, int(trunk.config.hidden_size)), np.float32)

    def jobs(self, requests: Iterable[CaptureRequest], workers: int) -> Iterator[Callable[[], list[Captured]]]:
        waiting: list[CaptureRequest] = []
        for request in requests:
            if fault := request_fault(request):
                yield partial(list, [Captured(request.key, self.none, fault)])
            elif len(request.token_ids) > self.config.chunk_tokens:
                yield partial(self.alone, request, self.config.chunk_tokens)
            else:
                waiting.append(request)
                if sum(len(r.token_ids) for r in waiting) >= _AHEAD * self.config.batch_tokens:
                    yield from self.batches(waiting, workers)
                    waiting = []
        yield from self.batches(waiting, workers)

    def batches(self, requests: list[CaptureRequest], workers: int) -> Iterator[Callable[[], list[Captured]]]:
        """Batches of transcripts of similar length, the longest first, so that the last batches are short. Few requests
        are split over all workers."""
        ordered = sorted(requests, key=lambda r: -len(r.token_ids))
        lengths = [len(r.token_ids) for r in ordered]
        bound = min(self.config.batch_tokens, sum(lengths)) // workers
        for part in slices(lengths, bound, padded=True):
            yield partial(self.together, ordered[part])

    def together(self, batch: list[CaptureRequest]) -> list[Captured]:
        """One padded forward. If memory runs out the batch is halved, and a single transcript gets shorter chunks."""
        return fitting(self.forward, batch, "transcripts")

    @torch.inference_mode()
    def forward(self, batch: list[CaptureRequest]) -> list[Captured]:
        if len(batch) == 1:
            return self.alone(batch[0], self.config.chunk_tokens)
        ids = [torch.from_numpy(r.token_ids.astype(np.int64)) for r in batch]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.config.device)
        hidden = self.trunk(input_ids=padded, use_cache=False).last_hidden_state
        return [checked(r, rows_of(hidden[row], r.positions), self.config.dtype) for row, r in enumerate(batch)]

    def alone(self, request: CaptureRequest, chunk: int) -> list[Captured]:
        """Read one transcript in chunks. If memory runs out, the chunks are halved."""
        try:
            return [checked(request, self.chunked(request, chunk), self.config.dtype)]
        except Exception as err:
            if not out_of_memory(err):
                raise
            if chunk <= _SHORTEST_CHUNK:
                fault = f"out of memory for {len(request.token_ids)} tokens in chunks of {chunk}"
                return [Captured(request.key, self.none, f"{fault}; close other programs, or take --dtype bfloat16")]
        release_memory()
        return self.alone(request, max(_SHORTEST_CHUNK, min(chunk, len(request.token_ids)) // 2))

    @torch.inference_mode()
    def chunked(self, request: CaptureRequest, chunk: int) -> NDArray[np.float32]:
        ids = torch.from_numpy(request.token_ids.astype(np.int64))[None].to(self.config.device)
        end = int(request.positions[-1]) + 1
        cache = DynamicCache(config=self.trunk.config) if end > chunk else None
        kept = []
        for start, stop in chunks(end, chunk):
            checkpoint()
            given = {"past_key_values": cache, "use_cache": True} if cache is not None else {"use_cache": False}
            hidden = self.trunk(input_ids=ids[:, start:stop], **given).last_hidden_state[0]
            inside = request.positions[(request.positions >= start) & (request.positions < stop)] - start
            kept.append(rows_of(hidden, inside))
        return np.concatenate(kept)


def chunks(end: int, chunk: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the chunks for `end` tokens. The first chunk needs no mask and is the longest. Later chunks are
    shorter, so that their masks stay small."""
    later = min(chunk, max(_SHORTEST_CHUNK, _MASKED // max(1, end)))
    bounds = [0, *range(chunk, end, later), end]
    yield from pairwise(bounds)


def checked(request: CaptureRequest, rows: NDArray[np.float32], dtype: torch.dtype) -> Captured:
    """Wrap `rows` (P, d) as a result; with an error if a value is not finite."""
    if np.isfinite(rows).all():
        return Captured(request.key, rows)
    return Captured(request.key, rows[:0], f"non-finite activation; read the target in float32 instead of {dtype}")


def rows_of(hidden: torch.Tensor, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows of `hidden` (T, d) at `positions`, as (P, d) float32."""
    found: NDArray[np.float32] = hidden[torch.from_numpy(positions)].float().cpu().numpy()
    return found


def request_fault(request: CaptureRequest) -> str | None:
    """The reason why `request` cannot be read; None if it can."""
    if len(request.positions) == 0:
        return "no positions to read"
    if request.positions[0] < 0 or request.positions[-1] >= len(request.token_ids):
        return f"position {int(request.positions[-1])} is outside the {len(request.token_ids)} tokens of the replay"
    return None
