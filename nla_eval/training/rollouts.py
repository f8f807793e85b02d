"""Draws explanations from the AV while it is being trained, with the engine's own decoder. In: an AV with adapters.
Out: draws with their token ids. It knows no reward.

The decoder runs a copy of the AV with the adapters merged into the weights: one product per linear layer, and packed
for few rows. `sync` brings that copy up to date after a step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear

from ..engines.base import Draw, Sampling, VerbalizeRequest
from ..engines.decoding import Decoder
from ..engines.loading import frozen
from ..engines.one_step import GROUPED
from ..engines.packed import pack_linears
from ..engines.side_by_side import Split, streamed
from .av import Verbalizer


class Rollouts:
    """The AV as a decoder.

    Args:
        av: The AV in training; its weights are read at every `sync`.
        tokenizer: The target's tokenizer.
        split: Batches side by side.
    """

    def __init__(self, av: Verbalizer, tokenizer: Any, split: Split) -> None:
        self._split = split
        merged = frozen(copy.deepcopy(av.lm).merge_and_unload())
        merged.set_attn_implementation(GROUPED)
        base = av.lm.get_base_model()
        merged.get_input_embeddings().weight = base.get_input_embeddings().weight
        merged.get_output_embeddings().weight = base.get_output_embeddings().weight
        self._decoder = Decoder(merged, tokenizer, av.prompt, av.scale)
        self._pairs = [
            (layer, merged.get_submodule(name).weight)
            for name, layer in base.named_modules()
            if isinstance(layer, Linear)
        ]
        pack_linears(merged)

    @torch.no_grad()
    def sync(self) -> None:
        """Bring the decoder's weights up to date with the AV's. Call while nothing is being drawn."""
        for layer, weight in self._pairs:
            merged: Any = layer.get_base_layer().weight.float()
            for adapter in layer.active_adapters:
                merged = merged + layer.get_delta_weight(adapter)
            weight.copy_(merged)
        pack_linears(self._decoder.model)
        self._decoder.weights_changed()

    def draw(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        """One draw per request, in order."""
        shares = [requests[worker :: self._split.workers] for worker in range(self._split.workers)]
        jobs = [partial(self._decoder.drawn, share, sampling, len(share)) for share in shares if share]
        found = {draw.key: draw for draw in streamed(jobs, self._split)}
        return [found[request.key] for request in requests]
