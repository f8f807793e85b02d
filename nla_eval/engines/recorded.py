"""Reuses activations from the forward passes in which the target wrote its own turns, so that those tokens are not read
twice.

In a causal model, an activation depends only on its token and those before it. So a replay with the same first ids as a
recorded sequence has the same activations there, up to the rounding that also occurs between two batches."""

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
    """Remembers the last output of one block, separately for each thread.

    Args:
        block: A decoder block. Its output, or the first element of it, is (B, T, d).
    """

    def __init__(self, block: nn.Module) -> None:
        self._local = threading.local()
        block.register_forward_hook(self._remember)

    def _remember(self, module: nn.Module, given: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        self._local.output = output if isinstance(output, torch.Tensor) else output[0]

    def take(self) -> torch.Tensor:
        """Return and forget the output (B, T, d) of this thread's last forward."""
        output: torch.Tensor = self._local.output
        del self._local.output
        return output


class Recording:
    """Token sequences with their activations of one block. The oldest are dropped beyond a number of bytes."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: deque[tuple[NDArray[np.int32], NDArray[np.float32]]] = deque()

    def add(self, token_ids: NDArray[np.int32], activations: NDArray[np.float32]) -> None:
        """Record `activations` (T, d) of the first T of `token_ids`."""
        self._kept.append((token_ids[: len(activations)], activations))
        while sum(kept.nbytes for _, kept in self._kept) > self.max_bytes:
            self._kept.popleft()

    def find(self, request: CaptureRequest) -> NDArray[np.float32] | None:
        """Activations (P, d) at the request's positions; None if no recorded sequence has the same tokens up to the
        last position."""
        wanted = request.token_ids[: int(request.positions[-1]) + 1]
        for ids, activations in self._kept:
            if len(ids) >= len(wanted) and np.array_equal(ids[: len(wanted)], wanted):
                return activations[request.positions]
        return None


class RecordedEngine:
    """An engine that captures only activations that were not recorded."""

    def __init__(self, engine: Engine, recording: Recording) -> None:
        self.engine, self.recording = engine, recording
        self.layer, self.d_model = engine.layer, engine.d_model

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Yield recorded activations, and let the engine capture the rest."""
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
