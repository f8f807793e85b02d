"""Rows reach the store in parts: as many as fit one, or as many as came before the clock ran out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def flushed(stream: Iterable[T], size: int, seconds: float) -> Iterator[list[T]]:
    """Lists of what `stream` yields, cut at `size` items or once `seconds` have passed."""
    batch: list[T] = []
    began = time.monotonic()
    for item in stream:
        batch.append(item)
        if len(batch) >= size or time.monotonic() - began >= seconds:
            yield batch
            batch, began = [], time.monotonic()
    if batch:
        yield batch
