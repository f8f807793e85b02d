"""Batched text generation with the full language model, for turns the target writes itself.

In: token ids of prompts with sampling settings. Out: the generated text and its stop reason. Random numbers are keyed
by request, so an answer does not depend on its batch. This module knows neither chats nor Inspect."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .fitting import slices
from .one_step import GROUPED, roomy_cache, worth_compacting
from .ragged import GroupCache, RaggedCache
from .recorded import Tap
from .side_by_side import Split, in_order

Stop = Literal["stop", "max_tokens"]

DECODE_FACTOR = 4
"""Tokens of KV cache held while decoding, per token of one prefill forward."""

_HEAD = 512
"""Number of likeliest tokens sorted first. Most draws fall among them, and sorting the whole vocabulary takes
milliseconds."""

_COLDEST = 1e-4
"""Temperatures below this are treated as greedy, because dividing logits by them overflows."""


@dataclass(frozen=True)
class GenerateRequest:
    """One prompt to continue."""

    token_ids: NDArray[np.int32]
    """(T,) the prompt, which ends with the generation prompt."""
    max_new_tokens: int
    temperature: float = 1.0
    """0 = greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 = keep every token."""
    seed: int = 0
    stop_texts: tuple[str, ...] = ()
    """Generation ends at the first occurrence of one of these texts, which is not part of the answer."""


@dataclass(frozen=True)
class Generated:
    """The answer to one prompt."""

    text: str
    tokens: int
    """Number of generated tokens, including the end token."""
    stop: Stop
    token_ids: NDArray[np.int32] = field(repr=False, compare=False)
    """Token ids of the prompt and the answer."""
    activations: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """(T, d) output of the generator's tapped block at all of these tokens but the last, which no forward has read."""


class Generator:
    """A causal language model with its tokenizer.

    Prefill runs in batches of `max_batch_tokens`. Decoding runs in groups of `DECODE_FACTOR` times as many tokens,
    because prefill is bound by arithmetic and decoding by the weights read from memory at every token.

    Args:
        model: A transformers causal language model in eval mode.
        tokenizer: Its tokenizer.
        max_batch_tokens: Bound on rows times padded length of all forwards that run together.
        split: How prefill batches share the CPU's cores; decoding uses all cores.
        tap: Tap on a block of the model, whose output answers then include. Not with sliding windows.
    """

    def __init__(
        self, model: Any, tokenizer: Any, max_batch_tokens: int, split: Split | None = None, tap: Tap | None = None
    ) -> None:
        self.split = split or Split()
        self.tap = tap
        self.model = model
        self.tokenizer = tokenizer
        self.max_batch_tokens = max_batch_tokens
        self._ends = _end_ids(model, tokenizer)
        layers: Any = roomy_cache(model.config.get_text_config()).layers
        self._ragged = model.config._attn_implementation == GROUPED and not any(layer.is_sliding for layer in layers)

    def __call__(self, requests: Sequence[GenerateRequest]) -> list[Generated]:
        """One answer per request, in order."""
        answers: dict[int, Generated] = {}
        for indices in self._groups(requests):
            rows = [_Row(requests[i], self.tokenizer, self._ends) for i in indices]
            (self._continue_ragged if self._ragged else self._continue_left_padded)(rows)
            answers.update({i: row.answer() for i, row in zip(indices, rows, strict=True)})
        return [answers[i] for i in range(len(requests))]

    def _groups(self, requests: Sequence[GenerateRequest]) -> Iterator[list[int]]:
        """Yield groups of request indices to decode together, the longest prompts first."""
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i].token_ids))
        room = [len(requests[i].token_ids) + requests[i].max_new_tokens for i in order]
        if self._ragged:
            parts = slices(room, DECODE_FACTOR * self.max_batch_tokens, padded=False)
        else:
            parts = slices(room, self.max_batch_tokens, padded=True)
        for part in parts:
            yield order[part]

    @torch.inference_mode()
    def _continue_ragged(self, rows: list[_Row]) -> None:
        """Answer `rows`, which are sorted with the longest prompt first."""
        cache, logits = self._prefill(rows)
        while alive := _take(rows, logits):
            if worth_compacting(len(alive), len(rows)):
                cache.keep(alive)
                rows = [rows[i] for i in alive]
            ids = torch.tensor([[row.written[-1]] for row in rows], device=self.model.device)
            logits = self.model(input_ids=ids, **cache.step()).logits[:, -1]
            self._record(rows, [1] * len(rows))

    def _prefill(self, rows: list[_Row]) -> tuple[RaggedCache, torch.Tensor]:
        """Prefill. Returns the prompts' cache and the logits (B, V) at their last token."""
        lengths = [len(row.request.token_ids) for row in rows]
        spare = max(row.request.max_new_tokens for row in rows)
        group = GroupCache(self.model.config.get_text_config(), lengths, spare)
        parts = slices(lengths, self.max_batch_tokens // self.split.workers, padded=True)
        logits = in_order((partial(self._forward, rows[part], group, part.start) for part in parts), self.split)
        return group.whole(), torch.cat(logits)

    @torch.inference_mode()
    def _forward(self, rows: list[_Row], group: GroupCache, start: int) -> torch.Tensor:
        """Prefill `rows` into the group's cache from row `start` on. Returns the logits (B, V) at their last token.

        Prompts are right-padded: causal attention then needs no mask, and only its lower half is computed.
        """
        device = self.model.device
        prompts = [torch.from_numpy(row.request.token_ids.astype(np.int64)) for row in rows]
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True).to(device)
        cache = group.part(start, start + len(rows))
        ends, which = torch.unique(lengths - 1, return_inverse=True)
        logits = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=ends).logits
        self._record(rows, list(map(len, prompts)))
        return torch.as_tensor(logits[torch.arange(len(rows), device=device), which])

    def _record(self, rows: list[_Row], lengths: list[int]) -> None:
        """Keep the tapped block's output at the first `lengths` tokens of each unfinished row."""
        if self.tap is not None:
            hidden = self.tap.take().float().cpu().numpy()
            for row, output, length in zip(rows, hidden, lengths, strict=True):
                if row.stop is None:
                    row.activations.append(output[:length].copy())

    @torch.inference_mode()
    def _continue_left_padded(self, rows: list[_Row]) -> None:
        """Answer `rows` on a model with sliding windows. A window counts back from the last column, so it would include
        padding on the right."""
        cache, mask, logits = self._prefill_left_padded(rows)
        position = mask.sum(1, keepdim=True)
        while alive := _take(rows, logits):
            if worth_compacting(len(alive), len(rows)):
                keep = torch.tensor(alive, device=mask.device)
                cache.batch_select_indices(keep)
                mask, position, rows = mask[keep], position[keep], [rows[i] for i in alive]
            ids = torch.tensor([[row.written[-1]] for row in rows], device=mask.device)
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)
            logits = self.model(
                input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            ).logits[:, -1]
            position = position + 1

    def _prefill_left_padded(self, rows: list[_Row]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Prefill. Returns the prompts' cache and mask (B, T), and the logits (B, V) at their last token."""
        device = self.model.device
        ids, mask = _left_padded([row.request.token_ids for row in rows], self.tokenizer.pad_token_id or 0)
        ids, mask = ids.to(device), mask.to(device)
        cache = roomy_cache(self.model.config.get_text_config())
        position = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self.model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        return cache, mask, logits


class _Row:
    """One unfinished answer."""

    def __init__(self, request: GenerateRequest, tokenizer: Any, ends: frozenset[int]) -> None:
        self.request = request
        self.written: list[int] = []
        self.activations: list[NDArray[np.float32]] = []
        self.stop: Stop | None = None
        self._tokenizer = tokenizer
        self._ends = ends
        self._text: str | None = None
        prompt = hashlib.sha256(request.token_ids.astype("<i4").tobytes()).digest()
        self._rng = np.random.default_rng([request.seed, *np.frombuffer(prompt, dtype="<u4").tolist()])

    def take(self, logits: NDArray[np.float32]) -> None:
        """Choose the next token from `logits` (vocabulary,) and check whether the answer ends with it."""
        token = choose_token(logits, self.request, self._rng)
        self.written.append(token)
        if token in self._ends or self._stopped():
            self.stop = "stop"
        elif len(self.written) >= self.request.max_new_tokens:
            self.stop = "max_tokens"

    def _stopped(self) -> bool:
        if not self.request.stop_texts:
            return False
        text = self._decode()
        found = [at for stop in self.request.stop_texts if (at := text.find(stop)) >= 0]
        if found:
            self._text = text[: min(found)]
        return bool(found)

    def _decode(self) -> str:
        return str(self._tokenizer.decode([t for t in self.written if t not in self._ends], skip_special_tokens=True))

    def answer(self) -> Generated:
        return Generated(
            text=self._text if self._text is not None else self._decode(),
            tokens=len(self.written),
            stop=self.stop or "stop",
            token_ids=np.concatenate([self.request.token_ids, np.array(self.written, np.int32)]),
            activations=np.concatenate(self.activations) if self.activations else None,
        )


def choose_token(logits: NDArray[np.float32], request: GenerateRequest, rng: np.random.Generator) -> int:
    """Choose a token: the likeliest at temperature 0, else one sample by inverse transform from the tempered, truncated
    distribution.

    Args:
        logits: (vocabulary,), raw.
        request: Gives temperature, top_k and top_p. top_p keeps the smallest set of tokens with at least that mass.
        rng: Random generator. One uniform number is taken per sample.
    """
    if request.temperature < _COLDEST:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / request.temperature
    weights = np.exp(scaled - scaled.max())
    uniform = rng.random()
    if not request.top_k and request.top_p == 1 and len(weights) > _HEAD:
        lowest = np.partition(-scaled, _HEAD - 1)[_HEAD - 1]
        # Keep all ties with the last token: which of them argpartition keeps depends on the processor.
        head = np.flatnonzero(~(-scaled > lowest))
        head = head[np.lexsort((head, -scaled[head]))]
        mass = np.cumsum(weights[head]) / weights.sum()
        if uniform < mass[-1]:
            return int(head[int(np.searchsorted(mass, uniform, side="right"))])
    order = np.argsort(-scaled, kind="stable")
    if request.top_k:
        order = order[: request.top_k]
    mass = np.cumsum(weights[order]) / weights[order].sum()
    kept = int(np.searchsorted(mass, request.top_p - 1e-12)) + 1 if request.top_p < 1 else len(order)
    mass = mass[:kept] / mass[min(kept, len(mass)) - 1]
    return int(order[min(int(np.searchsorted(mass, uniform, side="right")), len(mass) - 1)])


def _take(rows: list[_Row], logits: torch.Tensor) -> list[int]:
    """Choose the next token of every row. Returns the indices of unfinished rows."""
    for row, scores in zip(rows, logits.float().cpu().numpy(), strict=True):
        if row.stop is None:
            row.take(scores)
    return [i for i, row in enumerate(rows) if row.stop is None]


def _left_padded(prompts: Sequence[NDArray[np.int32]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask[i, longest - len(prompt) :] = 1
    return ids, mask


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = declared if isinstance(declared, list) else [declared]
    return frozenset(int(i) for i in [*ends, tokenizer.eos_token_id] if i is not None)
