"""The engine protocol: capture, verbalize, reconstruct. An engine runs weights and knows nothing of suites or rubrics.

Each request has its own random-number key, so results do not depend on the batches (exactly so in fp32)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..readings import StopReason


@dataclass(frozen=True)
class CaptureRequest:
    """Request to read the residual stream at some positions of one token sequence."""

    key: str
    token_ids: NDArray[np.int32]
    """(T,)"""
    positions: NDArray[np.int64]
    """(P,) ascending indices into `token_ids`."""


@dataclass(frozen=True)
class Captured:
    """Activations of one request, or an error."""

    key: str
    activations: NDArray[np.float32]
    """(P, d_model), raw scale; (0, d_model) when `error` is set."""
    error: str | None = None
    recorded: bool = False
    """True if the activations were recorded while the target wrote these tokens, and no forward was run."""


@dataclass(frozen=True)
class VerbalizeRequest:
    """Request to draw one explanation of one activation."""

    key: str
    """Unique key. The draw's random numbers are a function of (key, seed) alone."""
    activation: NDArray[np.float32] | None
    """(d_model,), raw scale; None leaves the injection slot as the plain marker token (the no_injection lane)."""
    seed: int = 0
    greedy: bool = False
    """Take the likeliest token at every step, whatever the temperature of the call."""
    heard: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    """Called in the engine's thread after each token, with the explanation so far. What it raises ends the call. An
    engine that gets explanations only whole never calls it."""


@dataclass(frozen=True)
class Draw:
    """One explanation."""

    key: str
    text: str
    """The explanation without tags."""
    stop: StopReason
    tokens: int
    error: str | None = None
    ids: tuple[int, ...] = field(default=(), compare=False)
    """Token ids as drawn, including tags and end token; empty if the engine does not return them."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings for explanations."""

    temperature: float = 1.0
    """0 = greedy."""
    max_new_tokens: int = 80

    def temperature_of(self, request: VerbalizeRequest) -> float:
        """Temperature for this request."""
        return 0.0 if request.greedy else max(0.0, self.temperature)


class Engine(Protocol):
    """Runs a target's blocks 0..K and its NLA pack."""

    layer: int
    """K: activations are the output of block K."""
    d_model: int

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Yield one `Captured` per request, perhaps in another order. Requests share batches within a token budget."""
        ...

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Yield one `Draw` per request, perhaps in another order."""
        ...

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The AR's vectors (n, d_model) for the explanation texts, in order."""
        ...
