"""An instrument with a planted truth: a byte-level target, and an engine whose activations, explanations and
reconstructions are known functions of the tokens.

It takes the pipeline through its paces in tests, under faults and under load. It is never a stand-in for a real NLA."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Captured, CaptureRequest, Draw, Engine, Sampling, VerbalizeRequest
from ..engines.kinds import ENGINES, EngineKind, RuntimeSettings
from ..models.scores import Baselines, ar_scores
from ..models.setting import Setting
from ..readings import StopReason

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CUE = "this is a test"
"""Where these characters stand in a prefix, the planted activation is aware."""
AWARE = "The model thinks it is being evaluated."
NEUTRAL = "A chat about ordinary things."
D_MODEL = 8
AWARE_DIRECTION = np.eye(D_MODEL, dtype=np.float32)[0] * 20.0


@dataclass(frozen=True)
class ByteTarget:
    """A target whose tokens are bytes, with a ChatML template."""

    max_context: int = 32768
    hash: str = "byte-target"
    name: str = "bytes"

    @cached_property
    def tokenizer(self) -> Any:
        """A tokenizer without merges: a token per byte."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        backend = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend)  # type: ignore[no-untyped-call]
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.chat_template = CHATML
        return tokenizer


@dataclass(frozen=True)
class TinyPack:
    """Facts of a pack that does not exist."""

    id: str = "planted@1"
    layer: int = 1
    d_model: int = D_MODEL
    min_position: int = 10
    max_new_tokens: int = 80
    text_window: int = 64
    text_only: Path | None = None
    setting: Setting | None = None
    forms: tuple[str, ...] = ()
    training_hashes: frozenset[str] = frozenset()


@dataclass
class PlantedEngine:
    """Implements `engines.base.Engine` with a planted truth."""

    target: ByteTarget = field(default_factory=ByteTarget)
    truncated: float = 0.0
    """Share of draws without a close tag."""
    fails_on: frozenset[str] = frozenset()
    """Transcript digests whose capture fails."""
    nan_on: frozenset[str] = frozenset()
    """Transcript digests whose first activation is not a number."""
    stop_after: int | None = None
    """Raise KeyboardInterrupt, as Ctrl-C would, after this many draws."""
    batch: int = 7
    layer: int = 1
    d_model: int = D_MODEL
    captures: int = 0
    draws: int = 0

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Planted activations, the last request first."""
        for request in reversed(list(requests)):
            self.captures += 1
            if request.key in self.fails_on:
                yield Captured(request.key, np.empty((0, D_MODEL), np.float32), "planted failure")
                continue
            rows = np.stack([self.activation(request.token_ids[: p + 1]) for p in request.positions])
            if request.key in self.nan_on:
                rows[0] = np.nan
            yield Captured(request.key, rows)

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Planted explanations, each batch from its end."""
        for start in range(0, len(requests), self.batch):
            for request in reversed(requests[start : start + self.batch]):
                if self.stop_after is not None and self.draws >= self.stop_after:
                    raise KeyboardInterrupt
                self.draws += 1
                yield self._draw(request, sampling)

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vector that a text spells out, to one decimal; ones where it spells out none."""
        vectors = np.zeros((len(texts), D_MODEL), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[:] = [float(word) for word in text.split("|")[1].split()] if "|" in text else 1.0
        return vectors

    def activation(self, prefix: NDArray[np.int32]) -> NDArray[np.float32]:
        """The planted truth: noise that is a function of the prefix, plus the aware direction after the cue."""
        noise: NDArray[np.float32] = _rng(prefix.astype(np.int32).tobytes()).standard_normal(D_MODEL).astype(np.float32)
        if CUE in str(self.target.tokenizer.decode(prefix.tolist())):
            noise += AWARE_DIRECTION
        return noise

    def _draw(self, request: VerbalizeRequest, sampling: Sampling) -> Draw:
        rng = _rng(f"{request.key}#{request.seed}".encode())
        style = int(rng.integers(1000)) if sampling.temperature else 0
        if request.activation is None:
            return Draw(request.key, f"{NEUTRAL} #{style}", StopReason.CLOSED, 5)
        if rng.random() < self.truncated:
            return Draw(request.key, AWARE[:10], StopReason.TRUNCATED, sampling.max_new_tokens)
        aware = float(request.activation @ AWARE_DIRECTION) > 0.5 * float(AWARE_DIRECTION @ AWARE_DIRECTION)
        values = " ".join(f"{x:.1f}" for x in request.activation)
        return Draw(request.key, f"{AWARE if aware else NEUTRAL} #{style} |{values}", StopReason.CLOSED, 9)


plain_scores = partial(ar_scores, baselines=Baselines(1.0))
"""AR scores against a variance baseline of 1."""


@dataclass(frozen=True)
class PlantedKind:
    """A planted instrument as an engine that commands can name, once it is registered in `engines.kinds.ENGINES`."""

    make: Callable[[], Engine] = PlantedEngine
    """Makes the engine."""
    records: bool = False

    def target(self, settings: RuntimeSettings) -> Any:
        """The byte-level target."""
        return ByteTarget()

    def pack(self, settings: RuntimeSettings, target: Any) -> Any:
        """Facts of its pack."""
        return TinyPack()

    def engine(self, settings: RuntimeSettings, target: Any, pack: Any) -> Engine:
        """The planted engine."""
        return self.make()

    def scorer(self, pack: Any) -> Any:
        """Scores of reconstructions."""
        return plain_scores


def register(kind: PlantedKind) -> None:
    """Offer a planted instrument as `--engine planted`. It writes no answers, so no lane may need any."""
    ENGINES.register("planted")(cast(EngineKind, kind))


def _rng(blob: bytes) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(blob).digest()[:8], "big"))
