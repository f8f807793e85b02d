"""A KV cache for rows of different length that are decoded together, one token per row at each step.

Each row's tokens are stored without gaps, in buffers made once. Rows may join and leave at any step. Masked columns
after a row's own tokens need not be read, which matters because memory traffic limits decoding."""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache

from .one_step import RoomyLayer

_SIMILAR = 0.8
"""A row joins a run if it is at least this long relative to the longest row of the run. Each run costs one call per
layer."""

Room = tuple[torch.Tensor, torch.Tensor]
"""Buffers (rows, G, tokens, d) for the keys and values of one layer."""


class RaggedCache:
    """A cache in which each row is extended at its own end.

    Args:
        rooms: Buffers of each layer. Unused entries must be zero, because masked entries still take part in products.
        lengths: Number of tokens in each of the first rows; the remaining rows are free.
    """

    def __init__(self, rooms: Sequence[Room], lengths: Sequence[int]) -> None:
        self.rooms, self.lengths = rooms, list(lengths)
        self.columns = torch.empty(0)
        """(B,) column of each row's next token."""
        self._cache = DynamicCache()
        self._layers = [_RaggedLayer(self, index) for index in range(len(rooms))]
        self._cache.layers = list(self._layers)

    def step(self) -> dict[str, Any]:
        """Model arguments for the next forward, besides the tokens. Call once per forward."""
        longest, device = max(self.lengths), self.rooms[0][0].device
        for layer in self._layers:
            layer.hold(longest)
        self.columns = torch.tensor(self.lengths, device=device)
        given: dict[str, Any] = {"past_key_values": self._cache, "use_cache": True}
        given["position_ids"] = self.columns[:, None]
        if min(self.lengths) < longest:
            given["attention_mask"] = (torch.arange(longest + 1, device=device) <= self.columns[:, None]).long()
        self.lengths = [length + 1 for length in self.lengths]
        runs = row_runs(self.lengths)
        return {**given, "row_runs": runs} if len(runs) > 1 else given

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only `rows`: move row `rows[i]` (at least i) to place i."""
        for place, row in enumerate(rows):
            if place != row:
                end = self.lengths[row]
                for room in self.rooms:
                    for buffer in room:
                        buffer[place, :, :end] = buffer[row, :, :end]
        self.lengths = [self.lengths[row] for row in rows]

    def join(self, cache: DynamicCache) -> None:
        """Add the rows of `cache`, all of one length, after the existing rows."""
        start, length = len(self.lengths), cache.get_seq_length()
        layers: Any = cache.layers
        for room, layer in zip(self.rooms, layers, strict=True):
            for buffer, held in zip(room, (layer.keys, layer.values), strict=True):
                buffer[start : start + len(held), :, :length] = held
        self.lengths += [length] * len(layers[0].keys)


class GroupCache:
    """The cache of a group of rows during prefill, which runs in parts.

    Each part writes directly into the group's buffers, so nothing is copied or held twice. Parts may run in several
    threads. Only for models without sliding windows.

    Args:
        config: Configuration of the model.
        lengths: Number of tokens of each row after prefill.
        spare: Room for further tokens in each row.
    """

    def __init__(self, config: Any, lengths: Sequence[int], spare: int) -> None:
        self._config, self._lengths, self._tokens = config, list(lengths), max(lengths) + spare
        self._lock = threading.Lock()
        self._rooms: dict[int, Room] = {}

    def part(self, start: int, stop: int) -> DynamicCache:
        """An empty cache for the right-padded prefill of rows `start` to `stop`."""
        cache, layers = DynamicCache(), int(self._config.num_hidden_layers)
        made: list[Any] = [_PartLayer(self, index, slice(start, stop)) for index in range(layers)]
        cache.layers = made
        return cache

    def whole(self) -> RaggedCache:
        """The cache of all rows, once every part is done."""
        return RaggedCache([self._rooms[index] for index in range(len(self._rooms))], self._lengths)

    def room(self, index: int, keys: torch.Tensor, values: torch.Tensor) -> Room:
        """The buffers of layer `index`, made with the shape and dtype of the first part's keys and values."""
        with self._lock:
            if index not in self._rooms:
                self._rooms[index] = empty_room(keys, values, len(self._lengths), self._tokens)
            return self._rooms[index]


def empty_room(keys: torch.Tensor, values: torch.Tensor, rows: int, tokens: int) -> Room:
    """Make buffers for `rows` rows of `tokens` tokens, with the heads of (B, G, T, d) `keys` and `values`."""
    heads, width = keys.shape[1], (keys.shape[3], values.shape[3])
    return _zeros(keys, (rows, heads, tokens, width[0])), _zeros(values, (rows, heads, tokens, width[1]))


def _zeros(like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros of the dtype and device of `like`. On the CPU a page takes memory only once it is written to, so short rows
    do not pay for the longest. (torch.zeros writes to every page.)"""
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    pages = mmap.mmap(-1, max(1, math.prod(shape) * like.element_size()))
    return torch.frombuffer(pages, dtype=like.dtype, count=math.prod(shape)).view(shape)


def row_runs(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """(start, stop, longest) of runs of rows of similar length, which together cover all rows. One run if lengths
    increase."""
    if any(after > before for before, after in pairwise(lengths)):
        return [(0, len(lengths), max(lengths))]
    runs: list[tuple[int, int, int]] = []
    start = 0
    for row in range(1, len(lengths) + 1):
        if row == len(lengths) or lengths[row] < _SIMILAR * lengths[start]:
            runs.append((start, row, lengths[start]))
            start = row
    return runs


class _PartLayer(RoomyLayer):  # type: ignore[no-untyped-call]
    """One layer of some rows of a group, during prefill."""

    def __init__(self, group: GroupCache, index: int, rows: slice) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._group, self._index, self._rows = group, index, rows

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values to the group's buffers."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            keys, values = self._group.room(self._index, key_states, value_states)
            self._key_room, self._value_room = keys[self._rows], values[self._rows]
            self.keys, self.values = self._key_room[:, :, :0], self._value_room[:, :, :0]
        return super().update(key_states, value_states, *args, **kwargs)


class _RaggedLayer(RoomyLayer):  # type: ignore[no-untyped-call]
    """One layer of a ragged cache."""

    def __init__(self, owner: RaggedCache, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._owner, self._index = owner, index
        self.lazy_initialization(*owner.rooms[index])

    def hold(self, length: int) -> None:
        """Show the first `length` tokens of the rows in use."""
        rows = len(self._owner.lengths)
        self.keys, self.values = (buffer[:rows, :, :length] for buffer in self._owner.rooms[self._index])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, G, 1, d) keys and values, each at the end of its row."""
        columns = self._owner.columns
        rows = torch.arange(len(columns), device=columns.device)
        for buffer, new in zip(self._owner.rooms[self._index], (key_states, value_states), strict=True):
            buffer[rows, :, columns] = new[:, :, 0]
        self.hold(self.keys.shape[2] + 1)
        return self.keys, self.values
