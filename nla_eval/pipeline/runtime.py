"""One target's weights in this process: loaded when first needed, run by one worker thread, shared by every caller.

Concurrent Inspect samples submit replays, captures, explanations and generations here; each kind is merged into
batches. Which engine runs the weights is a registry entry. Nothing here knows suites, rubrics or logs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import InputError, NlaEvalError, PackError
from ..models.dtypes import checked_dtype, torch_dtype
from ..registry import Registry
from .microbatch import MicroBatcher, Work

if TYPE_CHECKING:
    from ..engines.base import Engine
    from ..engines.config import EngineConfig
    from ..engines.generation import Generated, GenerateRequest
    from ..engines.recorded import Recording
    from ..models.pack import Pack
    from ..models.target import Target
    from .plan import Instrument
    from .stages import Scorer

Req = TypeVar("Req")
Res = TypeVar("Res")

GENERATE_PATIENCE = 0.1
"""Seconds a prompt waits for others before it is answered: a group takes a hundred times as long."""


@dataclass(frozen=True)
class RuntimeSettings:
    """What distinguishes one set of weights from another."""

    target: str
    """A target's name, absolute folder or hub id."""
    pack: str | None = None
    """A pack's name or absolute folder; None for the one that belongs to the target."""
    dtype: str = "auto"
    """"auto" is bfloat16 where the processor has it, else float32."""
    threads: int | None = None
    """CPU threads of the worker; None leaves torch's choice."""
    max_batch_tokens: int = 8192
    """Bound on the padded tokens of one forward."""
    engine: str = "transformers"
    """Which engine runs the weights, with its options behind a colon: "vllm-server:http://host:8000"."""

    def __post_init__(self) -> None:
        checked_dtype(self.dtype)
        if not isinstance(self.engine, str):
            raise InputError(f"engine is {self.engine!r}; part its words by spaces, not commas, and quote them")
        for name, value in (("threads", self.threads), ("max_batch_tokens", self.max_batch_tokens)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")


class EngineKind(Protocol):
    """How one kind of engine loads what it runs. Called in the worker thread."""

    records: bool
    """Whether what its generator computes at a token stands for what its engine would capture there."""

    def target(self, settings: RuntimeSettings) -> Target:
        """The target with its tokenizer; no weights."""
        ...

    def pack(self, settings: RuntimeSettings, target: Target) -> Pack:
        """The pack's facts; no weights."""
        ...

    def engine(self, settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Weights of blocks 0..K and of the pack."""
        ...

    def scorer(self, pack: Pack) -> Scorer:
        """AR scores against the pack's baselines."""
        ...

    def generator(
        self, settings: RuntimeSettings, target: Target, tapped: int | None
    ) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """The whole language model, for turns the target writes itself; answers may bring the output of a block."""
        ...


ENGINES: Registry[EngineKind] = Registry("engine")


@ENGINES.register("transformers")
class TransformersKind:
    """PyTorch through transformers: the default."""

    records = True

    @staticmethod
    def target(settings: RuntimeSettings) -> Target:
        """By name, folder or hub id."""
        from ..models.target import load_target

        return load_target(settings.target)

    @staticmethod
    def pack(settings: RuntimeSettings, target: Target) -> Pack:
        """By name, folder or released pair; None takes the shipped one that was trained on the target."""
        from ..models.pack import load_pack

        return load_pack(settings.pack) if settings.pack else shipped_pack(target)

    @staticmethod
    def engine(settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Proves itself before it is used: a pack that fails its checks or its self-test reads nothing."""
        from ..engines.hf import TransformersEngine

        if ":" in settings.engine:
            raise InputError(f"engine 'transformers' takes no options, given was '{settings.engine}'")
        engine = TransformersEngine(target, pack, engine_config(settings))
        engine.self_test()
        return engine

    @staticmethod
    def scorer(pack: Pack) -> Scorer:
        """Against the pack's own baselines."""
        from ..models.scores import ar_scores

        return partial(ar_scores, baselines=pack.baselines)

    @staticmethod
    def generator(
        settings: RuntimeSettings, target: Target, tapped: int | None
    ) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """The causal language model with its head."""
        import torch

        from ..engines.generation import Generator
        from ..engines.loading import load_lm
        from ..engines.one_step import GROUPED
        from ..engines.packed import pack_linears
        from ..engines.recorded import Tap
        from ..engines.side_by_side import measured_split

        model = load_lm(target.path, torch_dtype(settings.dtype), GROUPED, trust=target.trust_remote_code)
        if torch.cuda.is_available():
            model, split = model.to("cuda"), None
        else:
            split = measured_split(model, torch.get_num_threads())
            pack_linears(model)
        tap = None if tapped is None else Tap(model.get_decoder().layers[tapped])
        return Generator(model, target.tokenizer, settings.max_batch_tokens, split, tap)


@ENGINES.register("vllm-server")
class VllmServerKind(TransformersKind):
    """The AV on vLLM servers, the rest through transformers: `vllm-server:URL[,URL...][,option=value...]`."""

    @staticmethod
    def engine(settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Proves itself through the servers."""
        from ..engines.vllm.server import server_engine

        return server_engine(settings.engine, target, pack, engine_config(settings))


@ENGINES.register("vllm")
class VllmKind(TransformersKind):
    """AV and capture by vLLM in this process, the AR through transformers: `vllm[:option=value,...]`."""

    records = False

    @staticmethod
    def engine(settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Proves itself before it is used."""
        from ..engines.vllm.local import local_engine

        return local_engine(settings.engine, target, pack, engine_config(settings))


def engine_config(settings: RuntimeSettings) -> EngineConfig:
    """How transformers runs what it runs."""
    import torch

    from ..engines.config import EngineConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return EngineConfig(torch_dtype(settings.dtype), device, batch_tokens=settings.max_batch_tokens)


def shipped_pack(target: Target) -> Pack:
    """The pack in this package that was trained on `target`. Raises PackError where there is none."""
    from ..models.pack import DEFAULT_PACK, PACKS, load_pack
    from ..models.target import DEFAULT_TARGET

    if target.name == DEFAULT_TARGET:
        return load_pack(DEFAULT_PACK)
    packs = (load_pack(folder.name) for folder in sorted(PACKS.glob("*/")))
    found = next((pack for pack in packs if pack.av.target_hash == target.hash), None)
    if found is None:
        raise PackError(
            f"no shipped pack belongs to target '{target.name}' ({target.hash}); name one (--pack, or -M pack= in "
            "Inspect), or train one with nla-eval train"
        )
    return found


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
        """The target's name for artefacts: a folder's last part, never its whole path."""
        return Path(self.settings.target).name if Path(self.settings.target).is_absolute() else self.settings.target

    @cached_property
    def instrument(self) -> Instrument:
        """Target and pack, without weights."""
        from .plan import Instrument

        return Instrument(self.target, self.pack)

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
