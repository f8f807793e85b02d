"""The transformers engine. It captures with a trunk that stops at block K, verbalizes in batches over a shared prompt
prefix, and reconstructs in right-padded batches. Each part loads its weights on first use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import PackError
from ..models.pack import Pack
from ..models.prompts import ar_ids
from ..models.target import Target
from .base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from .capture import capture
from .config import EngineConfig
from .decoding import Decoder
from .fitting import fitting, release_memory
from .loading import load_av, load_reconstructor, load_target_trunk
from .one_step import GROUPED
from .packed import pack_linears
from .side_by_side import Split, in_order, measured_split, streamed

_SHARE = 32
"""A worker should get at least this many explanations, because every step reads all weights from memory, however few
its rows. On two cores, 21 explanations took 17 s in two batches side by side and 10.6 s in one."""
_TOGETHER, _TOGETHER_ACCELERATED = 256, 432
"""Explanations drawn together, unless the configuration says."""


class TransformersEngine:
    """Implements `engines.base.Engine` on PyTorch.

    Args:
        target: The model whose activations are read.
        pack: Its NLA pack, checked against the target before anything is loaded.

    Raises:
        PackError: The pack does not belong to the target.
    """

    def __init__(self, target: Target, pack: Pack, config: EngineConfig | None = None) -> None:
        self.target, self.pack, self.config = target, pack, config or EngineConfig()
        self.layer, self.d_model = pack.layer, pack.d_model
        self.prompt = pack.check_target(target)

    @cached_property
    def trunk(self) -> Any:
        """Blocks 0..K of the target, its adapter merged."""
        config = self.config
        return load_target_trunk(self.target, self.layer, config.dtype, config.attention).to(config.device)

    @cached_property
    def _split(self) -> Split:
        """How batches share the CPU; one at a time on an accelerator. Draws do not depend on it."""
        if self.config.split is not None:
            return self.config.split
        if self.config.device != "cpu":
            return Split()
        return measured_split(self.trunk, torch.get_num_threads())

    @cached_property
    def decoder(self) -> Decoder:
        """The AV."""
        attention = GROUPED if self.config.attention == "sdpa" else self.config.attention
        model = load_av(self.target.path, self.pack.av_path, self.config.dtype, attention)
        scale = self.pack.av.injection_scale
        if scale is None:
            raise PackError(f"pack '{self.pack.name}' states no injection_scale; add it to the AV's nla_meta.yaml")
        model = model.to(self.config.device)
        pack_linears(model, drop=True)
        release_memory()
        return Decoder(model, self.target.tokenizer, self.prompt, scale)

    @cached_property
    def _reconstructor(self) -> tuple[Any, torch.Tensor]:
        config = self.config
        trunk, head = load_reconstructor(
            self.target.path, self.pack.ar_path, self.layer, config.dtype, config.attention
        )
        if tuple(head.shape) != (self.d_model, self.d_model):
            raise PackError(f"value head is {tuple(head.shape)}, expected ({self.d_model}, {self.d_model})")
        return trunk.to(config.device), head.to(config.device)

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Yield the activations of each request; see `engines.capture`."""
        return capture(self.trunk, requests, self.config, self._split)

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Yield one explanation per request as soon as it ends. Requests of all transcripts share batches."""
        split = self._split if len(requests) >= _SHARE * self._split.workers else Split()
        together = self.config.verbalize_batch or (_TOGETHER if self.config.device == "cpu" else _TOGETHER_ACCELERATED)
        rows = max(1, together // split.workers)
        shares = [requests[worker :: split.workers] for worker in range(split.workers)]
        yield from streamed(
            [partial(self.decoder.drawn, share, sampling, min(rows, len(share))) for share in shares if share], split
        )

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The AR's vectors (n, d_model), read at the last token of its template. The tokenizer adds special tokens."""
        encoded = [ar_ids(self.pack.ar, self.target.tokenizer, text) for text in texts]
        out = np.empty((len(texts), self.d_model), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        size, run = self.config.reconstruct_batch, partial(self._reconstructed, *self._reconstructor)
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        jobs = (partial(fitting, run, [encoded[i] for i in rows], "explanations") for rows in batches)
        for rows, vectors in zip(batches, in_order(jobs, self._split), strict=True):
            out[rows] = vectors
        return out

    @torch.inference_mode()
    def _reconstructed(self, trunk: Any, head: torch.Tensor, encoded: list[list[int]]) -> list[NDArray[np.float32]]:
        """The AR's vector (d_model,) for the token ids of each text."""
        ids = [torch.tensor(row) for row in encoded]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.config.device)
        hidden = trunk(input_ids=padded, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])]
        return list((last.float() @ head.float().T).cpu().numpy())

    def self_test(self, *, captures_only: bool = False) -> str:
        """Run the start-up self-test, or its checks of what is captured; returns one line of findings. Raises PackError
        if a check fails."""
        from .self_test import self_test

        return self_test(self, captures_only=captures_only)
