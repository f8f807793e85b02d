"""Draws explanations: the activation, rescaled to the pack's injection norm, replaces one embedding of the AV prompt.

The prompt before the slot is the same for every activation, so its KV is computed once and expanded. Rows that end
leave the batch and new rows replace them. Random numbers are functions of (key, seed, step), so a draw does not depend
on its batch."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from ..models.prompts import CLOSE_TAG, AVPrompt, explanation_so_far, parse_explanation
from ..readings import StopReason
from .base import Draw, Sampling, VerbalizeRequest
from .fitting import halved, release_memory
from .ragged import RaggedCache, empty_room
from .side_by_side import checkpoint

_BLOCK = 256
_BEGIN = 64
"""Largest number of prompts per forward."""
_CACHED = 16
"""Rows sampled at once: their logits and what is made of them stay in the processor's cache."""
_REFILL = 16
"""New rows join once 1/16 of a batch is free, because a forward of few rows costs as much as one of more rows."""
_NOT_FINITE = "the activation is not finite"


class Decoder:
    """An AV with its prompt.

    Args:
        model: The AV as a causal LM in eval mode, with adapters merged.
        tokenizer: The target's tokenizer.
        prompt: The AV prompt.
        scale: L2 norm of the injected vector.
    """

    def __init__(self, model: Any, tokenizer: Any, prompt: AVPrompt, scale: float) -> None:
        self.model, self.tokenizer, self.prompt, self.scale = model, tokenizer, prompt, scale
        ends = model.generation_config.eos_token_id if getattr(model, "generation_config", None) else None
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        self._ends = {*ends, tokenizer.eos_token_id} - {None}
        self._prefix: DynamicCache | None = None
        self._lock = threading.Lock()

    def weights_changed(self) -> None:
        """Drop the KV computed with the model's old weights. Call only while nothing is being drawn."""
        self._prefix = None

    def embeddings(self, requests: Sequence[VerbalizeRequest]) -> torch.Tensor:
        """(B, S, d) embeddings of the prompt from the slot on, with the rescaled activations in the slot.

        A request without an activation keeps the marker's own embedding (the no_injection lane). Models with scaled
        embeddings (Gemma) scale inside the lookup; the activation is already at full scale and is not scaled again.
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

    def draw(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        """Draw one explanation per request, all in one batch, and return them in order."""
        found = {d.key: d for d in self.drawn(requests, sampling, max(1, len(requests)))}
        return [found[request.key] for request in requests]

    def drawn(self, requests: Iterable[VerbalizeRequest], sampling: Sampling, rows: int) -> Iterator[Draw]:
        """Yield draws as they end. A request with a non-finite activation returns an ERROR draw.

        Args:
            requests: Requests, started in this order.
            sampling: Sampling settings.
            rows: Largest number of rows in the batch; lowered if memory runs out.
        """
        waiting = deque(requests)
        while True:
            batch = _Batch(self, sampling, rows)
            try:
                yield from batch.run(waiting)
                return
            except Exception as err:
                rows = halved(err, rows, "explanations")
            yield from batch.give_out()
            waiting.extendleft(reversed(batch.unfinished))
            del batch
            release_memory()

    @torch.inference_mode()
    def _expanded_prefix(self, rows: int) -> DynamicCache:
        with self._lock:
            if self._prefix is None:
                prefix = DynamicCache()  # without a config it keeps every token; the masks apply sliding windows
                ids = torch.tensor([self.prompt.prefix], device=self.model.device)
                self.model(input_ids=ids, past_key_values=prefix, use_cache=True, logits_to_keep=1)
                self._prefix = prefix
        cache = copy.deepcopy(self._prefix)
        cache.batch_repeat_interleave(rows)
        return cache

    @torch.inference_mode()
    def begin(self, requests: Sequence[VerbalizeRequest]) -> tuple[DynamicCache, torch.Tensor]:
        """Read the prompts. Returns their cache and the logits (B, V) at their last token."""
        cache, embeddings = self._expanded_prefix(len(requests)), self.embeddings(requests)
        # An index, not a count: a count makes a non-contiguous slice, whose product with the head is slow.
        last = torch.tensor([embeddings.shape[1] - 1], device=self.model.device)
        logits = self.model(inputs_embeds=embeddings, past_key_values=cache, use_cache=True, logits_to_keep=last).logits
        return cache, logits[:, 0]

    def room(self, sampling: Sampling) -> int:
        """Number of tokens of the longest possible draw, including the prompt."""
        return len(self.prompt.prefix) + len(self.prompt.suffix) + sampling.max_new_tokens

    def in_step(self, sampling: Sampling) -> bool:
        """Whether all rows must have the same length. This is so if a draw can outgrow a sliding window, because the
        window counts back from the longest row."""
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        return window is not None and window < self.room(sampling)

    def is_over(self, ids: list[int], sampling: Sampling) -> bool:
        """Whether a draw ends with these tokens."""
        if ids[-1] in self._ends or len(ids) >= sampling.max_new_tokens:
            return True
        return CLOSE_TAG in self.tokenizer.decode(ids[-8:])

    def tell(self, request: VerbalizeRequest, ids: list[int]) -> None:
        """Tell whoever asked for this draw what its tokens say so far."""
        if request.heard is not None:
            request.heard(explanation_so_far(self.tokenizer.decode(ids, skip_special_tokens=True)))

    def finish(self, request: VerbalizeRequest, ids: list[int]) -> Draw:
        """Make the finished draw from its tokens."""
        text, closed = parse_explanation(self.tokenizer.decode(ids, skip_special_tokens=True))
        stop = StopReason.CLOSED if closed else StopReason.TRUNCATED
        return Draw(request.key, text, stop, len(ids), ids=tuple(ids))


class _Batch:
    """Rows that are drawn together. New rows replace rows that have ended."""

    def __init__(self, decoder: Decoder, sampling: Sampling, size: int) -> None:
        self.decoder, self.sampling, self.size = decoder, sampling, size
        self.in_step = decoder.in_step(sampling)
        self.rows: list[_Row] = []
        self.joining: list[VerbalizeRequest] = []
        """Requests taken from the queue that are not rows yet."""
        self.ended: list[Draw] = []
        """Finished draws that are not yielded yet."""
        self._cache: RaggedCache | None = None

    @property
    def unfinished(self) -> list[VerbalizeRequest]:
        """Requests taken from the queue that have no draw yet."""
        return [*(row.request for row in self.rows), *self.joining]

    def run(self, waiting: deque[VerbalizeRequest]) -> Iterator[Draw]:
        """Draw until no request waits and every row has ended."""
        while True:
            checkpoint()
            self._refill(waiting)
            if self.rows:
                self._step()
            yield from self.give_out()
            if not self.rows and not waiting:
                return

    def give_out(self) -> Iterator[Draw]:
        """Yield the finished draws."""
        while self.ended:
            yield self.ended.pop()

    def _refill(self, waiting: deque[VerbalizeRequest]) -> None:
        """Start as many requests as there is room for, once enough rows are free to be worth a forward."""
        free = self.size - len(self.rows)
        if self.rows and (self.in_step or free < max(1, self.size // _REFILL)):
            return
        while waiting and len(self.rows) < self.size:
            while waiting and len(self.joining) < min(_BEGIN, self.size - len(self.rows)):
                request = waiting.popleft()
                if request.activation is None or np.isfinite(request.activation).all():
                    self.joining.append(request)
                else:
                    self.ended.append(Draw(request.key, "", StopReason.ERROR, 0, _NOT_FINITE))
            if self.joining:
                self._join()

    def _join(self) -> None:
        cache, logits = self.decoder.begin(self.joining)
        if self._cache is None:
            self._cache = self._empty(cache)
        self._cache.join(cache)
        new = [_Row(request, _generator(request)) for request in self.joining]
        self.rows, self.joining = [*self.rows, *new], []
        self._choose(new, logits)

    def _empty(self, like: DynamicCache) -> RaggedCache:
        layers: Any = like.layers
        tokens = self.decoder.room(self.sampling)
        rooms = [empty_room(layer.keys, layer.values, self.size, tokens) for layer in layers]
        return RaggedCache(rooms, [])

    @torch.inference_mode()
    def _step(self) -> None:
        """Draw one more token for every row."""
        if self._cache is None:
            raise RuntimeError("rows without a cache")
        model = self.decoder.model
        ids = torch.tensor([[row.written[-1]] for row in self.rows], device=model.device)
        self._choose(self.rows, model(input_ids=ids, **self._cache.step()).logits[:, -1])

    @torch.inference_mode()
    def _choose(self, rows: list[_Row], logits: torch.Tensor) -> None:
        """Choose the next token of each row. Rows that end leave; the last rows move into their places."""
        chosen = choose(logits, self.sampling.temperature, [row.rng for row in rows])
        if any(row.request.greedy for row in rows):
            greedy = torch.tensor([row.request.greedy for row in rows], device=logits.device)
            chosen = torch.where(greedy, logits.argmax(dim=-1), chosen)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.written.append(token)
            self.decoder.tell(row.request, row.written)
            row.over = self.decoder.is_over(row.written, self.sampling)
        over = [row for row in rows if row.over]
        if over and self._cache is not None:
            left = len(self.rows) - len(over)
            behind = iter([place for place in range(left, len(self.rows)) if not self.rows[place].over])
            places = [next(behind) if self.rows[place].over else place for place in range(left)]
            self._cache.keep(places)
            self.ended += [self.decoder.finish(row.request, row.written) for row in over]
            self.rows = [self.rows[place] for place in places]


@dataclass(eq=False)
class _Row:
    """One unfinished draw."""

    request: VerbalizeRequest
    rng: np.random.Generator
    written: list[int] = field(default_factory=list)
    over: bool = False


def _generator(request: VerbalizeRequest) -> np.random.Generator:
    """A random generator seeded by the request's key and seed alone."""
    digest = hashlib.sha256(f"{request.seed}|{request.key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def choose(logits: torch.Tensor, temperature: float, rngs: Sequence[np.random.Generator]) -> torch.Tensor:
    """Choose one token id per row, (B,): the likeliest at temperature 0, else a sample.

    Samples use the Gumbel trick: the largest log-mass plus Gumbel noise wins, first among blocks of tokens, then among
    the tokens of that block. In float32, logits differ by about 1e-5 between batches of different size. With Gumbel
    noise this changes about as small a share of draws. A uniform number looked up in the cumulative distribution would
    change one draw in a thousand, because it hits a neighbour among the thousands of unlikely tokens.

    Args:
        logits: (B, V), raw.
        temperature: Sampling temperature; 0 = greedy.
        rngs: Random generator of each row. Every call takes the same number of random numbers.
    """
    if temperature <= 0:
        return logits.argmax(dim=-1)
    parts = zip(
        torch.split(logits, _CACHED), (rngs[i : i + _CACHED] for i in range(0, len(rngs), _CACHED)), strict=True
    )
    return torch.cat([_sampled(some, temperature, own) for some, own in parts])


def _sampled(logits: torch.Tensor, temperature: float, rngs: Sequence[np.random.Generator]) -> torch.Tensor:
    rows, vocabulary = logits.shape
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    blocks = torch.nn.functional.pad(scaled, (0, -vocabulary % _BLOCK), value=-torch.inf).view(rows, -1, _BLOCK)
    noise = -np.log(-np.log(np.stack([rng.random(blocks.shape[1] + _BLOCK) for rng in rngs]).clip(1e-300, 1 - 1e-16)))
    gumbel = torch.from_numpy(noise.astype(np.float32)).to(scaled.device)
    block = (blocks.logsumexp(dim=-1) + gumbel[:, :-_BLOCK]).argmax(dim=-1)
    inside = blocks[torch.arange(rows, device=block.device), block]
    return block * _BLOCK + (inside + gumbel[:, -_BLOCK:]).argmax(dim=-1)
