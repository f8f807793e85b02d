"""Draws explanations from the AV during training, with vLLM in this process. In: an AV in training. Out: draws with
their token ids. It knows no reward.

Each `sync` writes the AV's weights, with merged adapters, as a checkpoint to memory-backed storage if there is some.
vLLM's workers load them in place (`reload_weights`) and drop their prefix cache. Nothing is pickled."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engines.base import Draw, Sampling, VerbalizeRequest
from ...engines.vllm.local import VllmConfig, require_vllm, started, stopped
from ...engines.vllm.prompt import draw_settings, end_tokens, finished_draw, mixed_prompt
from ..models.av import Verbalizer
from ..models.merged import plain_weights
from ..models.optim import base_of
from ..models.whole_weights import SHARD

_MEMORY = Path("/dev/shm")


class VllmRollouts:
    """The AV in vLLM; implements `rollouts.RolloutSource`. It starts at the first `sync`.

    Args:
        av: The AV in training; its weights are read at every `sync`.
        tokenizer: The target's tokenizer.
        vllm: vLLM's configuration.
        cap: Maximum tokens of any explanation requested.

    Raises:
        MissingExtraError: vLLM is not installed.
    """

    def __init__(self, av: Verbalizer, tokenizer: Any, vllm: VllmConfig, cap: int) -> None:
        require_vllm("hardware.rollouts 'vllm'")
        self._av, self._tokenizer, self._vllm = av, tokenizer, vllm
        self._room = len(av.prompt.prefix) + len(av.prompt.suffix) + cap
        self._stops = end_tokens(base_of(av.lm).generation_config, tokenizer)
        self._folder = Path(tempfile.mkdtemp(prefix="nla-av-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self._llm: Any = None
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def sync(self) -> None:
        """Update vLLM's weights from the AV. Call it only while nothing is being drawn."""
        base = base_of(self._av.lm)
        base.save_pretrained(self._folder, state_dict=plain_weights(self._av), max_shard_size=SHARD)
        if self._llm is None:
            self._tokenizer.save_pretrained(self._folder)
            self._llm = self._started()
            return
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(self._folder)})
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not reset its prefix cache, which belongs to the old weights")

    def draw(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        """One draw per request, in order. A draw depends on key, seed and weights only; it differs from `Rollouts`."""
        from vllm import SamplingParams

        if self._llm is None:
            self.sync()
        dtype, scale = self._av.loading.dtype, self._av.scale
        prompts = [mixed_prompt(self._av.prompt, request.activation, scale, dtype) for request in requests]
        params = [SamplingParams(**draw_settings(request, sampling, self._stops)) for request in requests]
        outputs = self._llm.generate(prompts, params, use_tqdm=False)
        return [
            finished_draw(request, output.outputs[0].token_ids, self._tokenizer)
            for request, output in zip(requests, outputs, strict=True)
        ]

    def release(self) -> None:
        """Stop vLLM and delete the written weights."""
        self._llm, gone = None, self._llm
        stopped(gone)
        self._finalizer()

    def _started(self) -> Any:
        eager = self._vllm.enforce_eager
        return started(
            self._folder,
            self._vllm,
            self._av.loading.dtype,
            max_model_len=self._room,
            enforce_eager=self._av.device.type == "cpu" if eager is None else eager,
            enable_prefix_caching=True,
            enable_prompt_embeds=True,
        )
