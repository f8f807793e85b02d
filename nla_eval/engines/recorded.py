"""Activations kept from the forward passes in which the target wrote its own turns: those tokens are not read twice.

What a causal model computes at a token depends on the tokens before it alone, so a replay whose ids begin like a
recorded sequence has that sequence's activations, up to rounding, the same as between two batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .base import Captured, CaptureRequest, Draw, Engine, Sampling, VerbalizeRequest
from .capture import request_fault

_MAX_BYTES = 2**28


class Tap:
    """Remembers the last output of one block, for each thread its own.

    Args:
        block: A decoder block; its output, or the first part of it, is (B, T, d).
    """

    def __init__(self, block: nn.Module) -> None:
        self._local = threading.local()
        block.register_forward_hook(self._remember)

    def _remember(self, module: nn.Module, given: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        self._local.output = output if isinstance(output, torch.Tensor) else output[0]

    def take(self) -> torch.Tensor:
        """(B, T, d) of this thread's last forward, which is then forgotten."""
        output: torch.Tensor = self._local.output
        del self._local.output
        return output


class Recording:
    """Token sequences with the activations of one block, the newest within a bound of bytes."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: deque[tuple[NDArray[np.int32], NDArray[np.float32]]] = deque()

    def add(self, token_ids: NDArray[np.int32], activations: NDArray[np.float32]) -> None:
        """Keep `activations` (T, d) at the first T of `token_ids`."""
        self._kept.append((token_ids[: len(activations)], activations))
        while sum(kept.nbytes for _, kept in self._kept) > self.max_bytes:
            self._kept.popleft()

    def find(self, request: CaptureRequest) -> NDArray[np.float32] | None:
        """(P, d) at the request's positions, where a recorded sequence is the same up to the last of them."""
        wanted = request.token_ids[: int(request.positions[-1]) + 1]
        for ids, activations in self._kept:
            if len(ids) >= len(wanted) and np.array_equal(ids[: len(wanted)], wanted):
                return activations[request.positions]
        return None


class RecordedEngine:
    """An engine that captures only what was not recorded."""

    def __init__(self, engine: Engine, recording: Recording) -> None:
        self.engine, self.recording = engine, recording
        self.layer, self.d_model = engine.layer, engine.d_model

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """What was recorded as it is met, the rest by the engine."""
        found: list[Captured] = []

        def unknown() -> Iterator[CaptureRequest]:
            for request in requests:
                rows = None if request_fault(request) else self.recording.find(request)
                if rows is None or not np.isfinite(rows).all():
                    yield request
                else:
                    found.append(Captured(request.key, rows, recorded=True))

        for captured in self.engine.capture(unknown()):
            yield captured
            yield from found
            found.clear()
        yield from found

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """The engine's."""
        return self.engine.verbalize(requests, sampling)

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The engine's."""
        return self.engine.reconstruct(texts)
