"""Runs batches within a memory bound. If memory runs out, the batch is halved and the run continues without loss; a
single item that does not fit raises a clear error."""

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
    """Whether `err` means out of memory, on a CPU or an accelerator."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(said in str(err).lower() for said in _SAID)


def fitting(run: Callable[[list[Item]], list[Result]], items: Sequence[Item], what: str) -> list[Result]:
    """Return `run(items)`. If memory runs out, run the two halves one after the other, down to single items.

    Args:
        run: Returns one result per item, in order. It must free its memory if it fails.
        items: At least one item.
        what: Plural name of the items for the error and the notice on stderr, e.g. "explanations".

    Raises:
        NlaEvalError: A single item does not fit into memory.
    """
    try:
        return run(list(items))
    except Exception as err:
        half = halved(err, len(items), what)
    release_memory()
    return [*fitting(run, items[:half], what), *fitting(run, items[half:], what)]


def halved(err: Exception, size: int, what: str) -> int:
    """Half of `size`, the batch size to continue with after a batch of `size` raised `err`. Prints a notice on stderr.
    Call it inside the `except` block.

    Raises:
        NlaEvalError: A single item does not fit into memory.
        Exception: `err` itself, if it does not mean out of memory.
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
    """Split `sizes`, which hardly increase, into slices within `bound`. Each has at least one item.

    Args:
        sizes: Size of each item.
        bound: Largest size of a slice.
        padded: Whether the size of a slice is its number of items times its largest item; else it is the sum.
    """
    start = total = longest = 0
    for row, size in enumerate(sizes):
        longest, total = max(longest, size), total + size
        if row > start and ((row - start + 1) * longest if padded else total) > bound:
            yield slice(start, row)
            start, total, longest = row, size, size
    if sizes:
        yield slice(start, len(sizes))


_TRIM, _MMAP = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's mallopt."""
_KEPT = 2**30


def keep_freed_memory() -> None:
    """Keep memory that a batch has freed for the next batch, until `release_memory`. glibc would return large tensors
    at once and map them again: page faults took 8 % of the CPU time of capture and 12 % of a prefill."""
    for option in (_TRIM, _MMAP):
        _glibc("mallopt", option, _KEPT)


def release_memory() -> None:
    """Return memory of a finished stage or failed batch to the system. glibc keeps memory that threads have freed until
    it is asked to return it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _glibc("malloc_trim", 0)


def _glibc(call: str, *arguments: int) -> None:
    """Call a function of glibc; nothing where the C library is another one."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such call
            getattr(ctypes.CDLL(None), call)(*arguments)
