"""Draws explanations: the vector, rescaled to the pack's injection norm, overwrites one embedding of the AV prompt.

The prompt before the slot is the same for every activation: its KV is computed once and expanded. Finished rows leave
the batch, a few at a time. Random numbers are functions of (key, seed, step): a draw does not depend on its batch."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from ..prompts import CLOSE_TAG, AVPrompt, parse_explanation
from ..readings import StopReason
from .base import Draw, Sampling, VerbalizeRequest
from .one_step import roomy_cache, set_spare, worth_compacting
from .side_by_side import checkpoint

_BLOCK = 256


class Decoder:
    """An AV with its prompt.

    Args:
        model: The AV as a causal LM in eval mode, adapters merged.
        tokenizer: The target's tokenizer.
        prompt: Ids before the slot and from the slot on.
        scale: L2 norm of the injected vector.
    """

    def __init__(self, model: Any, tokenizer: Any, prompt: AVPrompt, scale: float) -> None:
        self.model, self.tokenizer, self.prompt, self.scale = model, tokenizer, prompt, scale
        ends = model.generation_config.eos_token_id if getattr(model, "generation_config", None) else None
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        self._ends = {*ends, tokenizer.eos_token_id} - {None}
        self._prefix: DynamicCache | None = None
        self._lock = threading.Lock()

    def embeddings(self, requests: Sequence[VerbalizeRequest]) -> torch.Tensor:
        """(B, S, d) embeddings of the prompt from the slot on, with each rescaled vector in its slot.

        A request without an activation keeps the marker's own embedding (the no_injection lane). Scaled-embedding
        models (Gemma) scale inside the lookup; the vector is at full scale already and is not scaled again.
        """
        device = self.model.device
        ids = torch.tensor([self.prompt.suffix], device=device)
        looked_up = self.model.get_input_embeddings()(ids).expand(len(requests), -1, -1).clone()
        for row, request in enumerate(requests):
            if request.activation is not None:
                vector = torch.from_numpy(np.asarray(request.activation, np.float32)).to(device)
                norm = vector.norm().clamp_min(1e-12)
                looked_up[row, 0] = (vector / (norm / self.scale)).to(looked_up.dtype)
        return torch.as_tensor(looked_up)

    @torch.inference_mode()
    def draw(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        """One draw per request, in order. A row with a non-finite activation comes back as an ERROR."""
        broken = {r.key for r in requests if r.activation is not None and not np.isfinite(r.activation).all()}
        sound = [r for r in requests if r.key not in broken]
        drawn = {d.key: d for d in self._draw(sound, sampling)} if sound else {}
        fault = "the activation is not finite"
        return [drawn.get(r.key) or Draw(r.key, "", StopReason.ERROR, 0, fault) for r in requests]

    def _draw(self, requests: list[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        cache = self._expanded_prefix(len(requests))
        set_spare(cache, sampling.max_new_tokens)
        uniforms = np.stack([_uniforms(r, sampling.max_new_tokens) for r in requests])
        rows = list(range(len(requests)))
        written: list[list[int]] = [[] for _ in requests]
        step_input: dict[str, Any] = {"inputs_embeds": self.embeddings(requests)}
        done: set[int] = set()
        for step in range(sampling.max_new_tokens):
            checkpoint()
            # An index, not a count: a slice of longer inputs is not contiguous, and its product with the head is slow.
            last = torch.tensor([next(iter(step_input.values())).shape[1] - 1], device=self.model.device)
            logits = self.model(**step_input, past_key_values=cache, use_cache=True, logits_to_keep=last).logits[:, 0]
            chosen = _choose(logits, sampling.temperature, uniforms[rows, step])
            for row, token in zip(rows, chosen.tolist(), strict=True):
                if row not in done:
                    written[row].append(token)
                    if token in self._ends or self._closed(written[row]):
                        done.add(row)
            alive = [place for place, row in enumerate(rows) if row not in done]
            if not alive:
                break
            if worth_compacting(len(alive), len(rows)):
                keep = torch.tensor(alive, device=logits.device)
                cache.batch_select_indices(keep)
                chosen = chosen[keep]
                rows = [rows[place] for place in alive]
            step_input = {"input_ids": chosen[:, None]}
        return [self._finish(r, ids) for r, ids in zip(requests, written, strict=True)]

    def _expanded_prefix(self, rows: int) -> DynamicCache:
        with self._lock:
            if self._prefix is None:
                prefix = roomy_cache(self.model.config.get_text_config())
                ids = torch.tensor([self.prompt.prefix], device=self.model.device)
                self.model(input_ids=ids, past_key_values=prefix, use_cache=True, logits_to_keep=1)
                self._prefix = prefix
        cache = copy.deepcopy(self._prefix)
        cache.batch_repeat_interleave(rows)
        return cache

    def _closed(self, ids: list[int]) -> bool:
        return CLOSE_TAG in self.tokenizer.decode(ids[-8:])

    def _finish(self, request: VerbalizeRequest, ids: list[int]) -> Draw:
        text, closed = parse_explanation(self.tokenizer.decode(ids, skip_special_tokens=True))
        return Draw(request.key, text, StopReason.CLOSED if closed else StopReason.TRUNCATED, len(ids))


def _uniforms(request: VerbalizeRequest, steps: int) -> np.ndarray:
    """(steps,) uniforms in [0, 1), a function of key and seed alone."""
    digest = hashlib.sha256(f"{request.seed}|{request.key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).random(steps)


def _choose(logits: torch.Tensor, temperature: float, uniforms: np.ndarray) -> torch.Tensor:
    """(B,) token ids: greedy at temperature 0, else by inverting the cumulative distribution at each uniform.

    The mass is summed in float64, first over blocks of tokens and then inside the block that is hit: one pass over the
    vocabulary instead of three.
    """
    if temperature <= 0:
        return logits.argmax(dim=-1)
    rows, vocabulary = logits.shape
    mass = (logits.float() / temperature if temperature != 1 else logits.float()).softmax(dim=-1)
    blocks = torch.nn.functional.pad(mass, (0, -vocabulary % _BLOCK)).view(rows, -1, _BLOCK)
    sums = blocks.sum(dim=-1).double()
    ends = sums.cumsum(dim=-1)
    at = torch.from_numpy(uniforms).to(ends)[:, None] * ends[:, -1:]
    block = torch.searchsorted(ends, at, right=True).clamp_max(ends.shape[-1] - 1)
    into = at - (ends - sums).gather(1, block)
    inside = blocks[torch.arange(rows, device=block.device), block[:, 0]].double().cumsum(dim=-1)
    place = torch.searchsorted(inside, into, right=True).clamp_max(_BLOCK - 1)
    return (block * _BLOCK + place)[:, 0].clamp_max(vocabulary - 1)
