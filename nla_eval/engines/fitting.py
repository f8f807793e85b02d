"""Out of memory halves the batch and goes on: nothing is lost, and what does not fit alone is a clear error."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
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
        if not out_of_memory(err):
            raise
        if len(items) == 1:
            raise NlaEvalError(
                f"out of memory for one of the {what} alone; close other programs, or choose a smaller dtype "
                "(--dtype bfloat16) or shorter transcripts"
            ) from err
    release_memory()
    half = (len(items) + 1) // 2
    print(f"out of memory with {len(items)} {what} at once; going on with {half}", file=sys.stderr, flush=True)
    return [*fitting(run, items[:half], what), *fitting(run, items[half:], what)]


def release_memory() -> None:
    """Give back what a failed batch held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
