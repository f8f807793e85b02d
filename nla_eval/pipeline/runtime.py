"""One target's weights in this process: loaded when first needed, run by one worker thread, shared by every caller.

Concurrent Inspect samples submit replays, captures, explanations and generations here; each kind is merged into
batches. Which engine runs the weights is a registry entry. Nothing here knows suites, rubrics or logs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from ..engines.kinds import ENGINES, RuntimeSettings
from ..errors import NlaEvalError
from .microbatch import MicroBatcher, Work

if TYPE_CHECKING:
    from ..engines.base import Engine
    from ..engines.generation import Generated, GenerateRequest
    from ..engines.recorded import Recording
    from ..models.pack import Pack
    from ..models.scores import Scorer
    from ..models.target import Target
    from .plan import Instrument

Req = TypeVar("Req")
Res = TypeVar("Res")

GENERATE_PATIENCE = 0.1
"""Seconds a prompt waits for others before it is answered: a group takes a hundred times as long."""


class Runtime:
    """The worker thread of one target, and its weights once something needs them. Get one with `runtime_for`."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self.batcher = MicroBatcher(f"nla-target:{settings.target}")
        self.loaded: list[str] = []
        """Which weights have been loaded, in order: "engine", "generator"."""
        self._kind = ENGINES.get(settings.engine.partition(":")[0])

    async def call(self, name: str, function: Callable[[], Res]) -> Res:
        """Run `function` in the worker thread, between batches: slow reads and imports would stall the samples."""

        def run(requests: list[None]) -> list[Res]:
            return [function() for _ in requests]

        return await self.batcher.submit(Work(name, run, max_cost=1), None)

    async def submit(self, name: str, run: Callable[[list[Req]], Sequence[Res]], request: Req, cost: int = 1) -> Res:
        """Run `request` in a batch with whatever else is waiting under the same name and function."""
        return await self.batcher.submit(Work(name, run, self.settings.max_batch_tokens), request, cost)

    async def generate(self, request: GenerateRequest) -> Generated:
        """Continue one prompt with the target's own words."""
        from ..engines.generation import DECODE_FACTOR

        cost = len(request.token_ids) + request.max_new_tokens
        most = DECODE_FACTOR * self.settings.max_batch_tokens
        work = Work("generate", self._generate, most, patience=GENERATE_PATIENCE)
        return await self.batcher.submit(work, request, cost)

    # What follows is for the worker thread.

    @cached_property
    def target(self) -> Target:
        """The target with its tokenizer."""
        self._set_threads()
        return self._kind.target(self.settings)

    @property
    def target_name(self) -> str:
        """The target's name for artefacts."""
        return self.settings.target_name

    @cached_property
    def instrument(self) -> Instrument:
        """Target and pack, without weights."""
        from .plan import Instrument

        return Instrument(self.target, self.pack, self.target_name)

    @cached_property
    def pack(self) -> Pack:
        """The pack's facts."""
        return self._kind.pack(self.settings, self.target)

    @cached_property
    def engine(self) -> Engine:
        """The engine with its weights; what the generator has read is not captured again."""
        from ..engines.recorded import RecordedEngine

        self._set_threads()
        engine = self._kind.engine(self.settings, self.target, self.pack)
        self.loaded.append("engine")
        return RecordedEngine(engine, self.recording) if self._kind.records else engine

    @cached_property
    def recording(self) -> Recording:
        """What the generator's answers brought of the pack's block."""
        from ..engines.recorded import Recording

        return Recording()

    @cached_property
    def scorer(self) -> Scorer:
        """AR scores against the pack's baselines."""
        return self._kind.scorer(self.pack)

    @cached_property
    def generator(self) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """The language model with its head."""
        self._set_threads()
        generator = self._kind.generator(self.settings, self.target, self._tapped())
        self.loaded.append("generator")
        return generator

    def drop_generator(self) -> None:
        """Free the language model once every answer is written; what it recorded stays."""
        from ..engines.fitting import release_memory

        if self.__dict__.pop("generator", None) is not None:
            release_memory()

    def _tapped(self) -> int | None:
        """The block whose output answers bring: the pack's, where there is a pack for this target."""
        if not self._kind.records:
            return None
        try:
            self.pack.check_target(self.target)
        except NlaEvalError:
            return None  # a target can answer without one; what reads it will say so
        return self.pack.layer

    def _generate(self, requests: list[GenerateRequest]) -> list[Generated]:
        answers = self.generator(requests)
        for answer in answers:
            if answer.activations is not None:
                self.recording.add(answer.token_ids, answer.activations)
        return answers

    def _set_threads(self) -> None:
        if self.settings.threads is not None:
            import torch

            torch.set_num_threads(self.settings.threads)


_RUNTIMES: dict[RuntimeSettings, Runtime] = {}
_LOCK = threading.Lock()


def runtime_for(settings: RuntimeSettings) -> Runtime:
    """The one runtime of `settings` in this process. Makes none of its weights."""
    with _LOCK:
        if settings not in _RUNTIMES:
            _RUNTIMES[settings] = Runtime(settings)
        return _RUNTIMES[settings]


def release(settings: RuntimeSettings) -> None:
    """Let go of a runtime's weights and thread, once its queue is empty."""
    with _LOCK:
        runtime = _RUNTIMES.pop(settings, None)
    if runtime is not None:
        runtime.batcher.close()
