"""Draws explanations from the AV during training, with the engine's own decoder. In: an AV in training. Out: draws with
their token ids. It knows no reward.

The decoder runs a copy of the AV. With LoRA, adapters are merged into the copy's weights: one matrix product per linear
layer, packed for few rows. In full fine-tuning, the copy shares the weights, or converts them if it computes in another
dtype. `sync` updates the copy after a step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from ...engines.base import Draw, Sampling, VerbalizeRequest
from ...engines.decoding import Decoder
from ...engines.loading import frozen
from ...engines.one_step import GROUPED
from ...engines.packed import pack_linears
from ...engines.side_by_side import Split, streamed
from ..models.av import Verbalizer
from ..models.merged import changing
from ..models.optim import base_of


class RolloutSource(Protocol):
    """Draws rollouts for the joint stage."""

    def sync(self) -> None:
        """Load the AV's current weights. Call it only while nothing is being drawn."""
        ...

    def draw(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        """One draw per request, in order, with its token ids."""
        ...


class Rollouts:
    """The AV as a decoder.

    Args:
        av: The AV in training; its weights are read at every `sync`.
        tokenizer: The target's tokenizer.
        split: Number of parallel batches.
    """

    def __init__(self, av: Verbalizer, tokenizer: Any, split: Split) -> None:
        self._split = split
        model = _merged(av) if av.rank else _twin(av)
        model.set_attn_implementation(GROUPED)
        self._decoder = Decoder(model, tokenizer, av.prompt, av.scale)
        self._pairs = [(model.get_parameter(name), present) for name, present in changing(av).items()]
        pack_linears(model)

    @torch.no_grad()
    def sync(self) -> None:
        """Update the decoder's weights from the AV. Call it only while nothing is being drawn."""
        for place, present in self._pairs:
            now = present()
            if now.data_ptr() != place.data_ptr():  # equal: the decoder shares the trained weight
                place.copy_(now)
        pack_linears(self._decoder.model)
        self._decoder.weights_changed()

    def draw(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        """One draw per request, in order."""
        shares = [requests[worker :: self._split.workers] for worker in range(self._split.workers)]
        jobs = [partial(self._decoder.drawn, share, sampling, len(share)) for share in shares if share]
        found = {draw.key: draw for draw in streamed(jobs, self._split)}
        return [found[request.key] for request in requests]


def _merged(av: Verbalizer) -> Any:
    """A copy of the AV with merged adapters. It shares the embeddings."""
    merged, base = frozen(copy.deepcopy(av.lm).merge_and_unload()), base_of(av.lm)
    merged.get_input_embeddings().weight = base.get_input_embeddings().weight
    merged.get_output_embeddings().weight = base.get_output_embeddings().weight
    return merged


def _twin(av: Verbalizer) -> Any:
    """A second set of modules that shares the trained weights, or holds copies of them in the dtype of arithmetic."""
    dtype = av.loading.dtype
    weights: dict[int, Any] = {
        id(p): p if p.dtype is dtype else nn.Parameter(p.detach().to(dtype), requires_grad=False)
        for p in av.lm.parameters()
    }
    return copy.deepcopy(av.lm, weights).eval()
