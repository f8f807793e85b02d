"""The registry of engines, and how each loads its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InputError
from ..models.dtypes import checked_dtype, torch_dtype
from ..registry import Registry

if TYPE_CHECKING:
    from ..models.pack import Pack
    from ..models.scores import Scorer
    from ..models.target import Target
    from .base import Engine
    from .config import EngineConfig
    from .generation import Generated, GenerateRequest
    from .questions import Answered, AskRequest
    from .setting import SettingReader
    from .side_by_side import Split
from ..models.pack import shipped_pack

NO_MODEL_ARGS = ("target", "captures_only")
"""Settings that are no argument (`-M`) of an Inspect model: its name, and what its plan decides."""


@dataclass(frozen=True)
class RuntimeSettings:
    """Settings that identify one set of loaded weights."""

    target: str
    """A target's name, absolute folder or hub id."""
    pack: str | None = None
    """A pack's name or absolute folder; None for the shipped pack of the target."""
    dtype: str = "auto"
    """"auto" is bfloat16 if the processor supports it, else float32."""
    threads: int | None = None
    """CPU threads of the worker; None keeps torch's default."""
    max_batch_tokens: int = 8192
    """Largest number of padded tokens per forward."""
    engine: str = "transformers"
    """Name of the engine, with its options after a colon: "vllm-server:http://host:8000"."""
    captures_only: bool = False
    """Whether only activations are read: the self-test then leaves out the verbalizer and the reconstructor."""

    def __post_init__(self) -> None:
        checked_dtype(self.dtype)
        if not isinstance(self.engine, str):
            raise InputError(f"engine is {self.engine!r}; separate its options by spaces, not commas, and quote it")
        for name, value in (("threads", self.threads), ("max_batch_tokens", self.max_batch_tokens)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")

    @property
    def target_name(self) -> str:
        """The target's name for artefacts: the last part of a folder, never its whole path."""
        from ..models.target import public_name

        return public_name(self.target)

    def model_args(self) -> dict[str, Any]:
        """Arguments of an Inspect model of this target, besides its name (`-M`)."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NO_MODEL_ARGS}
        return {name: value for name, value in values.items() if value is not None}

    def facts(self) -> dict[str, str]:
        """Facts about the weights for provenance."""
        from ..models.target import adapter_of

        adapter = adapter_of(self.target)
        adapted = {"adapter": adapter.facts()} if adapter else {}
        return {"target": self.target_name, **adapted, "engine": self.engine, "dtype": self.dtype}


class EngineKind(Protocol):
    """How one kind of engine loads its weights. Called in the worker thread."""

    records: bool
    """Whether activations recorded by its generator equal those its engine would capture."""

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
        """The whole language model, for turns the target writes itself. Answers include the output of block `tapped`,
        unless it is None."""
        ...

    def text_reader(
        self, settings: RuntimeSettings, target: Target, pack: Pack
    ) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """The target with the pack's text_only adapter. Raises PackError if the pack has none."""
        ...

    def setting_reader(self, settings: RuntimeSettings, target: Target, pack: Pack) -> SettingReader:
        """The target's base with the pack's setting adapter. Raises PackError if the pack has none."""
        ...

    def answerer(self, settings: RuntimeSettings, target: Target) -> Callable[[Sequence[AskRequest]], list[Answered]]:
        """The whole language model, for yes-or-no questions."""
        ...


_log = logging.getLogger(__name__)
ENGINES: Registry[EngineKind] = Registry("engine")


@ENGINES.register("transformers")
class TransformersKind:
    """PyTorch through transformers: the default."""

    records = True

    @staticmethod
    def target(settings: RuntimeSettings) -> Target:
        """Load a target by name, folder or hub id."""
        from ..models.target import load_target

        return load_target(settings.target)

    @staticmethod
    def pack(settings: RuntimeSettings, target: Target) -> Pack:
        """Load a pack by name, folder or released pair; None takes the shipped pack of the target. A pack that does not
        fit the target is refused here, before any transcript is read."""
        from ..models.pack import load_pack

        pack = load_pack(settings.pack) if settings.pack else shipped_pack(target)
        pack.check_target(target)
        if target.adapter is not None and (note := target.adapter.check_layer(pack.layer)):
            _log.warning(note)
        return pack

    @staticmethod
    def engine(settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Load the engine and run its self-test. Raises PackError if a check or the self-test fails."""
        from ..engines.hf import TransformersEngine

        if ":" in settings.engine:
            raise InputError(f"engine 'transformers' takes no options; got '{settings.engine}'")
        engine = TransformersEngine(target, pack, engine_config(settings))
        engine.self_test(captures_only=settings.captures_only)
        return engine

    @staticmethod
    def scorer(pack: Pack) -> Scorer:
        """AR scores against the pack's own baselines."""
        from ..models.scores import ar_scores

        return partial(ar_scores, baselines=pack.baselines)

    @staticmethod
    def generator(
        settings: RuntimeSettings, target: Target, tapped: int | None
    ) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """The causal language model with its head."""
        import torch

        from ..engines.generation import Generator
        from ..engines.loading import load_target_lm
        from ..engines.one_step import GROUPED
        from ..engines.recorded import Tap

        model = load_target_lm(target, torch_dtype(settings.dtype), GROUPED)
        model, split = _placed(model, torch)
        tap = None if tapped is None else Tap(model.get_decoder().layers[tapped])
        return Generator(model, target.tokenizer, settings.max_batch_tokens, split, tap)

    @staticmethod
    def text_reader(
        settings: RuntimeSettings, target: Target, pack: Pack
    ) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        """The target with the pack's text_only adapter merged in."""
        import torch

        from ..engines.generation import Generator
        from ..engines.loading import load_text_reader
        from ..engines.one_step import GROUPED
        from ..errors import PackError

        if pack.text_only is None:
            raise PackError(f"pack '{pack.name}' has no text_only adapter; name a chat model with --text-reader")
        model = load_text_reader(target.path, pack.av_path, pack.text_only, torch_dtype(settings.dtype), GROUPED)
        model, split = _placed(model, torch)
        return Generator(model, target.tokenizer, settings.max_batch_tokens, split)

    @staticmethod
    def setting_reader(settings: RuntimeSettings, target: Target, pack: Pack) -> SettingReader:
        """The plain base with the pack's setting adapter merged in: an adapter on the target changes what is read, not
        who reads."""
        import torch

        from ..engines.setting import load_setting_reader

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_setting_reader(target, pack, torch_dtype(settings.dtype), device)

    @staticmethod
    def answerer(settings: RuntimeSettings, target: Target) -> Callable[[Sequence[AskRequest]], list[Answered]]:
        """The causal language model with its head, without sampling."""
        import torch

        from ..engines.answering import Answerer
        from ..engines.loading import load_target_lm

        model = load_target_lm(target, torch_dtype(settings.dtype))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Answerer(model.to(device), target.tokenizer, settings.max_batch_tokens)


def _placed(model: Any, torch: Any) -> tuple[Any, Split | None]:
    """A model that writes, on its device, and how its batches share the CPU's cores."""
    from ..engines.fitting import release_memory
    from ..engines.loading import slice_feed_forward
    from ..engines.packed import pack_linears
    from ..engines.side_by_side import measured_split

    if torch.cuda.is_available():
        return model.to("cuda"), None
    split = measured_split(model, torch.get_num_threads())
    slice_feed_forward(model.get_decoder())
    pack_linears(model, drop=True)
    release_memory()
    return model, split


@ENGINES.register("vllm-server")
class VllmServerKind(TransformersKind):
    """The AV on vLLM servers, everything else on transformers: `vllm-server:URL[,URL...][,option=value...]`."""

    @staticmethod
    def engine(settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Load the engine and run its self-test through the servers."""
        from ..engines.vllm.server import server_engine

        return server_engine(settings.engine, target, pack, engine_config(settings))


@ENGINES.register("vllm")
class VllmKind(TransformersKind):
    """AV and capture on vLLM in this process, the AR on transformers: `vllm[:option=value,...]`."""

    records = False

    @staticmethod
    def engine(settings: RuntimeSettings, target: Target, pack: Pack) -> Engine:
        """Load the engine and run its self-test."""
        from ..engines.vllm.local import local_engine

        return local_engine(settings.engine, target, pack, engine_config(settings))


def engine_config(settings: RuntimeSettings) -> EngineConfig:
    """Settings of the transformers engine."""
    import torch

    from ..engines.config import EngineConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return EngineConfig(torch_dtype(settings.dtype), device, batch_tokens=settings.max_batch_tokens)
