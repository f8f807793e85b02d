"""Batches within a bound. Out of memory halves one and goes on: nothing is lost, and what does not fit alone is a clear
error."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import torch

from ..errors import NlaEvalError

Item = TypeVar("Item")
Result = TypeVar("Result")

_SAID = ("out of memory", "can't allocate memory", "cannot allocate memory")


def out_of_memory(err: BaseException) -> bool:
    """Whether `err` says that memory ran out, on a CPU or an accelerator."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(said in str(err).lower() for said in _SAID)


def fitting(run: Callable[[list[Item]], list[Result]], items: Sequence[Item], what: str) -> list[Result]:
    """`run(items)`; where memory does not suffice, its halves one after the other, down to single items.

    Args:
        run: One result per item, in order; must leave nothing behind when it fails.
        items: At least one.
        what: Named in the error and in the notice on stderr: "explanations".

    Raises:
        NlaEvalError: Memory does not suffice for a single item.
    """
    try:
        return run(list(items))
    except Exception as err:
        half = halved(err, len(items), what)
    release_memory()
    return [*fitting(run, items[:half], what), *fitting(run, items[half:], what)]


def halved(err: Exception, size: int, what: str) -> int:
    """How many to go on with after `size` at once ended in `err`; said on stderr. Call while `err` is handled.

    Raises:
        NlaEvalError: Memory does not suffice for a single one.
        Exception: `err` itself, where it does not say that memory ran out.
    """
    if not out_of_memory(err):
        raise err
    if size == 1:
        raise NlaEvalError(
            f"out of memory for one of the {what} alone; close other programs, or choose a smaller dtype "
            "(--dtype bfloat16) or shorter transcripts"
        ) from err
    half = (size + 1) // 2
    print(f"out of memory with {size} {what} at once; going on with {half}", file=sys.stderr, flush=True)
    return half


def slices(sizes: Sequence[int], bound: int, *, padded: bool) -> Iterator[slice]:
    """Runs of `sizes`, which do not increase by much, within `bound`: by their sum, or, `padded`, by rows times the
    longest; each has at least one."""
    start = total = longest = 0
    for row, size in enumerate(sizes):
        longest, total = max(longest, size), total + size
        if row > start and ((row - start + 1) * longest if padded else total) > bound:
            yield slice(start, row)
            start, total, longest = row, size, size
    if sizes:
        yield slice(start, len(sizes))


def release_memory() -> None:
    """Give back what a stage or a failed batch held: glibc keeps what threads have freed until it is asked."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such call
            ctypes.CDLL(None).malloc_trim(0)
