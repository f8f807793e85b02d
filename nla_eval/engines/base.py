"""The engine protocol: capture, verbalize, reconstruct. An engine runs weights and knows nothing of suites or rubrics.

Requests carry their own random-number keys, so results do not depend on how rows were batched (in fp32, exactly)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..readings import StopReason


@dataclass(frozen=True)
class CaptureRequest:
    """Read the residual stream at some positions of one token sequence."""

    key: str
    token_ids: NDArray[np.int32]
    """(T,)"""
    positions: NDArray[np.int64]
    """(P,) ascending indices into `token_ids`."""


@dataclass(frozen=True)
class Captured:
    """Activations of one request, or why there are none."""

    key: str
    activations: NDArray[np.float32]
    """(P, d_model), raw scale; (0, d_model) when `error` is set."""
    error: str | None = None
    recorded: bool = False
    """Kept from the pass in which the target wrote these tokens; nothing was run."""


@dataclass(frozen=True)
class VerbalizeRequest:
    """Put one activation into words once."""

    key: str
    """Unique; the draw's random numbers are a function of (key, seed) alone."""
    activation: NDArray[np.float32] | None
    """(d_model,), raw scale; None leaves the injection slot as the plain marker token (the no_injection lane)."""
    seed: int = 0
    greedy: bool = False
    """Take the likeliest token at every step, whatever temperature the others of the call have."""


@dataclass(frozen=True)
class Draw:
    """One explanation."""

    key: str
    text: str
    """Without the tags."""
    stop: StopReason
    tokens: int
    error: str | None = None
    ids: tuple[int, ...] = field(default=(), compare=False)
    """The tokens as drawn, tags and end token included; empty where the engine does not say."""


@dataclass(frozen=True)
class Sampling:
    """How explanations are drawn."""

    temperature: float = 1.0
    """0 is greedy."""
    max_new_tokens: int = 80

    def temperature_of(self, request: VerbalizeRequest) -> float:
        """At which this request is drawn."""
        return 0.0 if request.greedy else max(0.0, self.temperature)


class Engine(Protocol):
    """Runs a target's block 0..K and its NLA pack."""

    layer: int
    """K: activations are the output of block K."""
    d_model: int

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """One `Captured` per request, batched by token budget across requests; order may differ from the input's."""
        ...

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """One `Draw` per request; order may differ from the input's."""
        ...

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The AR's vector for each explanation text: (n, d_model), in order."""
        ...
