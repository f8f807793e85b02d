"""One target's weights in this process: loaded when first needed, run by one worker thread, shared by all callers.

Concurrent Inspect samples submit replays, captures, explanations and generations here, and each kind is merged into
batches. The engine is a registry entry. This module knows nothing of suites, rubrics or logs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from ..engines.kinds import ENGINES, RuntimeSettings
from ..errors import NlaEvalError
from .microbatch import MicroBatcher, Work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..engines.base import Engine
    from ..engines.generation import Generated, GenerateRequest
    from ..engines.questions import Answered, AskRequest
    from ..engines.recorded import Recording
    from ..engines.setting import SettingReader
    from ..models.pack import Pack
    from ..models.scores import Scorer
    from ..models.target import Target
    from .plan import Instrument

Req = TypeVar("Req")
Res = TypeVar("Res")

GENERATE_PATIENCE = 0.1
"""Seconds a prompt waits for others before a group is answered. Answering takes about a hundred times as long."""
SETTING_TOKENS = 16
"""About how many tokens one activation takes in the setting adapter."""


class Runtime:
    """The worker thread and the lazily loaded weights of one target. Get one with `runtime_for`."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self.batcher = MicroBatcher(f"nla-target:{settings.target}")
        self.loaded: list[str] = []
        """Names of the weights loaded so far, in order: "engine", "generator"."""
        self._kind = ENGINES.get(settings.engine.partition(":")[0])

    async def call(self, name: str, function: Callable[[], Res]) -> Res:
        """Run `function` in the worker thread between batches, so that slow reads and imports do not stall samples."""

        def run(requests: list[None]) -> list[Res]:
            return [function() for _ in requests]

        return await self.batcher.submit(Work(name, run, max_cost=1), None)

    async def submit(self, name: str, run: Callable[[list[Req]], Sequence[Res]], request: Req, cost: int = 1) -> Res:
        """Run `request` in a batch with other waiting requests of the same name and function."""
        return await self.batcher.submit(Work(name, run, self.settings.max_batch_tokens), request, cost)

    async def generate(self, request: GenerateRequest) -> Generated:
        """Let the target continue one prompt."""
        return await self._continued("generate", self._generate, request)

    async def write(self, request: GenerateRequest) -> Generated:
        """Let the pack's text reader continue one prompt."""
        return await self._continued("write", self._write, request)

    async def _continued(
        self, name: str, run: Callable[[list[GenerateRequest]], Sequence[Generated]], request: GenerateRequest
    ) -> Generated:
        from ..engines.generation import DECODE_FACTOR

        cost = len(request.token_ids) + request.max_new_tokens
        work = Work(name, run, DECODE_FACTOR * self.settings.max_batch_tokens, patience=GENERATE_PATIENCE)
        return await self.batcher.submit(work, request, cost)

    async def read_setting(self, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) `setting_log_odds` of (n, d_model) raw activations, by the pack's setting adapter."""
        return await self.submit("setting", self._setting, activations, SETTING_TOKENS * len(activations))

    async def ask(self, request: AskRequest) -> Answered:
        """Ask the target several yes-or-no questions about one text."""
        cost = len(request.shared) + sum(map(len, request.endings))
        return await self.submit("ask", self._ask, request, cost)

    # The members below are for the worker thread only.

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
        """The engine with its weights. It reuses activations recorded while the generator wrote."""
        from ..engines.recorded import RecordedEngine

        self._set_threads()
        engine = self._kind.engine(self.settings, self.target, self.pack)
        self.loaded.append("engine")
        return RecordedEngine(engine, self.recording) if self._kind.records else engine

    @cached_property
    def recording(self) -> Recording:
        """Activations of the pack's block, recorded while the generator wrote its answers."""
        from ..engines.recorded import Recording

        return Recording()

    @cached_property
    def scorer(self) -> Scorer:
        """AR scores against the pack's baselines."""
        return self._kind.scorer(self.pack)

    @cached_property
    def generator(self) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """Function that generates text with the whole language model."""
        self._set_threads()
        generator = self._kind.generator(self.settings, self.target, self._tapped())
        self.loaded.append("generator")
        return generator

    @cached_property
    def text_reader(self) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """Function that writes with the pack's text_only adapter."""
        self._set_threads()
        reader = self._kind.text_reader(self.settings, self.target, self.pack)
        self.loaded.append("text_reader")
        return reader

    @cached_property
    def setting_reader(self) -> SettingReader:
        """The reader of the pack's setting adapter. Raises PackError if the pack has none."""
        self._set_threads()
        reader = self._kind.setting_reader(self.settings, self.target, self.pack)
        self.loaded.append("setting_reader")
        return reader

    @cached_property
    def answerer(self) -> Callable[[Sequence[AskRequest]], list[Answered]]:
        """Function that answers yes-or-no questions with the whole language model."""
        self._set_threads()
        answerer = self._kind.answerer(self.settings, self.target)
        self.loaded.append("answerer")
        return answerer

    def drop_generator(self) -> None:
        """Free the language model. Its recorded activations are kept."""
        self._drop("generator")

    def drop_answerer(self) -> None:
        """Free the language model that answers questions."""
        self._drop("answerer")

    def _drop(self, name: str) -> None:
        from ..engines.fitting import release_memory

        if self.__dict__.pop(name, None) is not None:
            release_memory()

    def _write(self, requests: list[GenerateRequest]) -> list[Generated]:
        return self.text_reader(requests)

    def _ask(self, requests: list[AskRequest]) -> list[Answered]:
        return self.answerer(requests)

    def _setting(self, requests: list[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        return self.setting_reader.read(requests)

    def _tapped(self) -> int | None:
        """The block to record during generation: the pack's; None without a pack for this target."""
        if not self._kind.records:
            return None
        try:
            self.pack.check_target(self.target)
        except NlaEvalError:
            return None  # a target can answer without a pack; reading it will raise the error
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
    """The runtime of `settings`, one per process. Loads no weights."""
    with _LOCK:
        if settings not in _RUNTIMES:
            _RUNTIMES[settings] = Runtime(settings)
        return _RUNTIMES[settings]


def release(settings: RuntimeSettings) -> None:
    """Free a runtime's weights and thread, once its queue is empty."""
    from ..engines.fitting import release_memory

    with _LOCK:
        runtime = _RUNTIMES.pop(settings, None)
    if runtime is not None:
        runtime.batcher.close()
        del runtime
        release_memory()
