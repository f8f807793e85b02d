"""Decodes one token at a time without copying the whole KV cache at each step: attention over grouped heads, and a
cache with spare room. Results equal those of transformers' `sdpa` and `DynamicCache`, up to rounding.

At each token the stock path concatenates every layer's keys and values again and repeats them for each query head of a
group. In long contexts both cost more than the attention itself. Queries of more than one token take the stock path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "nla_grouped"
"""Name of the attention for `attn_implementation`."""
_SPARE = 64
"""Number of further tokens a new buffer has room for."""


def grouped_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float | None = None, row_runs: Sequence[tuple[int, int, int]] | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention of one query token, with the heads of a group as rows. Longer queries go to `sdpa`.

    Args:
        module: The attention layer.
        query: (B, H, Q, d)
        key: (B, G, T, d), G dividing H.
        value: (B, G, T, d)
        attention_mask: (B, 1, Q, T) boolean, True where attended, or None.
        scaling: Factor of the scores; 1/sqrt(d) if None.
        row_runs: (start, stop, length) of runs that together cover all rows. The rows of a run hold at most `length`
            tokens each, so masked tokens after `length` are not read at all.
        kwargs: Passed on to `sdpa`.

    Returns:
        (B, Q, H, d) and None.
    """
    rows, heads, queries, width = query.shape
    if queries != 1 or (attention_mask is not None and attention_mask.dtype is not torch.bool):
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return out, None
    grouped = query.view(rows, key.shape[1], -1, width)
    out = torch.cat(
        [
            scaled_dot_product_attention(
                grouped[a:b],
                key[a:b, :, :n],
                value[a:b, :, :n],
                attn_mask=None if attention_mask is None else attention_mask[a:b, ..., :n],
                scale=scaling,
            )
            for a, b, n in row_runs or ((0, rows, key.shape[2]),)
        ]
    )
    return out.view(rows, 1, heads, width), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer whose keys and values are views of buffers with room for further tokens."""

    keys: torch.Tensor
    values: torch.Tensor
    _key_room: torch.Tensor | None = None
    _value_room: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, G, n, d) keys and values; returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._key_room, self.keys = _appended(self._key_room, self.keys, key_states)
        self._value_room, self.values = _appended(self._value_room, self.values, value_states)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows, with their spare room."""
        length = self.get_seq_length()
        if length == 0:
            return
        keys = (self.keys if self._key_room is None else self._key_room)[indices]
        values = (self.values if self._value_room is None else self._value_room)[indices]
        self._key_room, self._value_room = keys, values
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row. New spare room is made when it is needed."""
        self._key_room = self._value_room = None
        super().batch_repeat_interleave(repeats)


def _appended(room: torch.Tensor | None, held: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Append `new`. Returns (buffer, view of its content); the buffer is new if `held` is not a view of `room`."""
    length = held.shape[-2] if held.numel() else 0
    total = length + new.shape[-2]
    if room is None or total > room.shape[-2] or (length and held.data_ptr() != room.data_ptr()):
        room = new.new_empty((*new.shape[:2], total + _SPARE, new.shape[-1]))
        if length:
            room[:, :, :length] = held
    room[:, :, length:total] = new
    return room, room[:, :, :total]


def roomy_cache(config: Any) -> DynamicCache:
    """Make an empty cache for a model of `config`. Layers with a sliding window stay as transformers makes them."""
    cache = DynamicCache(config=config)
    made: Any = RoomyLayer
    cache.layers = [made() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def worth_compacting(alive: int, rows: int) -> bool:
    """Whether dropping finished rows saves more than moving the cache costs: if an eighth or all of them are done."""
    return alive <= rows - max(1, rows // 8)
