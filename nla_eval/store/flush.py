"""Cuts a stream of rows into parts for the store, by size or by time, whichever comes first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def flushed(stream: Iterable[T], size: int, seconds: float) -> Iterator[list[T]]:
    """Yield the items of `stream` in lists of `size`, or shorter ones once `seconds` have passed."""
    batch: list[T] = []
    began = time.monotonic()
    for item in stream:
        batch.append(item)
        if len(batch) >= size or time.monotonic() - began >= seconds:
            yield batch
            batch, began = [], time.monotonic()
    if batch:
        yield batch
