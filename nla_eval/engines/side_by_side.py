"""Runs batches side by side on the CPU: several Python threads, each with its own batch on a few cores.

If one batch runs on all cores, its many small operators use one core while the others wait. Several batches keep every
core busy. Which is faster depends on the model and the machine, so it is measured when an engine is loaded."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from .fitting import keep_freed_memory

T = TypeVar("T")

_CORES_EACH = (1, 4)
_TRIAL_BLOCKS = 2
_TRIAL_TOKENS = 1024
_TRIAL_ROUNDS = 4
_MARGIN = 1.1
"""Side by side is chosen even if it is slower by up to this factor in the trial, because over whole runs, with batches
of many sizes, it was faster."""
_local = threading.local()
_POOL_LOCK = threading.Lock()


@dataclass(frozen=True)
class Split:
    """How batches share the CPU: `workers` batches at a time, each on `threads` cores."""

    workers: int = 1
    threads: int | None = None
    """None keeps torch's setting."""


_POOLS: dict[Split, ThreadPoolExecutor] = {}
_MEASURED: dict[tuple[object, ...], Split] = {}


class StoppedError(Exception):
    """Raised in a worker to end its batch, because the caller wants no more results."""


def checkpoint() -> None:
    """Call between steps of a long batch. Raises `StoppedError` in a worker if the caller wants no more results."""
    stop = getattr(_local, "stop", None)
    if stop is not None and stop.is_set():
        raise StoppedError


def side_by_side(jobs: Iterable[Callable[[], T]], split: Split) -> Iterator[T]:
    """Yield the results of `jobs` as they finish; see `streamed`."""
    return streamed((partial(_alone, job) for job in jobs), split)


def _alone(job: Callable[[], T]) -> Iterator[T]:
    yield job()


def streamed(jobs: Iterable[Callable[[], Iterable[T]]], split: Split) -> Iterator[T]:
    """Yield the items of `jobs` as they are finished, in any order. One worker keeps the order and runs in the caller's
    thread.

    `jobs` is read lazily: at most one more job than there are workers. The first exception of a job is raised here, and
    the running jobs stop at their next checkpoint.
    """
    if split.workers <= 1:
        for job in jobs:
            yield from job()
        return
    stop, waiting, pool = threading.Event(), iter(jobs), _pool(split)
    came: SimpleQueue[tuple[T] | Exception | None] = SimpleQueue()

    def begun(most: int) -> set[Future[None]]:
        return {pool.submit(_run, partial(_feed, job, came), stop) for job in islice(waiting, most)}

    running: set[Future[None]] = set()
    try:
        running = begun(split.workers + 1)
        left = len(running)
        while left:
            item = came.get()
            if isinstance(item, Exception):
                raise item
            if item is not None:
                yield item[0]
                continue
            new = begun(1)
            running = {future for future in running if not future.done()} | new
            left += len(new) - 1
    finally:
        stop.set()
        for future in running:
            future.cancel()
        wait(running)


def _feed(job: Callable[[], Iterable[T]], came: SimpleQueue[tuple[T] | Exception | None]) -> None:
    """Put the items of `job` into `came`, then None or the job's exception."""
    try:
        for item in job():
            came.put((item,))
            checkpoint()
        came.put(None)
    except Exception as err:
        came.put(err)


def in_order(jobs: Iterable[Callable[[], T]], split: Split) -> list[T]:
    """Run `jobs` and return their results in order."""
    numbered = (partial(_numbered, number, job) for number, job in enumerate(jobs))
    return [result for _, result in sorted(side_by_side(numbered, split), key=lambda found: found[0])]


def _numbered(number: int, job: Callable[[], T]) -> tuple[int, T]:
    return number, job()


def measured_split(model: Any, threads: int) -> Split:
    """The fastest way to share `threads` cores among batches, timed on the first blocks of `model`. It is measured once
    per process for all models with equal blocks. From here on freed memory is kept for the next batch
    (`fitting.keep_freed_memory`).

    Args:
        model: A decoder on the CPU with its blocks in `layers`, or a causal LM around one.
        threads: Number of cores to share.
    """
    keep_freed_memory()
    if threads <= 1:
        return Split()
    layers = getattr(model, "model", model).layers
    blocks = threads, type(layers[0]), tuple((p.dtype, p.shape) for p in layers[0].parameters())
    if blocks not in _MEASURED:
        _MEASURED[blocks] = _fastest(model, layers, threads)
    return _MEASURED[blocks]


def _fastest(model: Any, layers: Any, threads: int) -> Split:
    splits = [Split(), *(Split(threads // each, each) for each in _CORES_EACH if threads // each > 1)]
    handle = layers[min(_TRIAL_BLOCKS, len(layers)) - 1].register_forward_hook(_stop_here)
    try:
        _trial(splits[0], model, 1)
        taken = [[_trial(split, model, threads) for split in splits] for _ in range(_TRIAL_ROUNDS)]
    finally:
        handle.remove()
    seconds = dict(zip(splits, (statistics.median(column) for column in zip(*taken, strict=True)), strict=True))
    apart = min(splits[1:], key=lambda split: seconds[split])
    return apart if seconds[apart] < _MARGIN * seconds[splits[0]] else splits[0]


def _run(job: Callable[[], T], stop: threading.Event) -> T:
    _local.stop = stop
    checkpoint()
    return job()


def _pool(split: Split) -> ThreadPoolExecutor:
    """The thread pool of `split`, with its threads started and configured. This thread's torch setting is unchanged.

    Pools live as long as the process, because every new thread gets a memory arena, which keeps the memory freed in it.
    """
    with _POOL_LOCK:
        if split not in _POOLS:
            _POOLS[split] = _started(split)
        return _POOLS[split]


def _started(split: Split) -> ThreadPoolExecutor:
    before, ready = torch.get_num_threads(), threading.Barrier(split.workers + 1)

    def start() -> None:
        torch.set_num_threads(split.threads or before)
        ready.wait()

    pool = ThreadPoolExecutor(split.workers, "nla-batch", start)
    for _ in range(split.workers):
        pool.submit(time.sleep, 0)
    ready.wait()
    torch.set_num_threads(before)  # threads started later inherit this setting
    return pool


def _trial(split: Split, model: Any, batches: int) -> float:
    """Time `batches` batches through the model's first blocks, in seconds."""
    jobs = [partial(_first_blocks, model)] * batches
    began = time.perf_counter()
    for _ in side_by_side(jobs, split):
        pass
    return time.perf_counter() - began


class _EnoughError(Exception):
    """Raised to end the forward of a trial."""


@torch.inference_mode()
def _first_blocks(model: Any) -> None:
    ids = torch.full((1, _TRIAL_TOKENS), 1, dtype=torch.long)
    with suppress(_EnoughError):
        model(input_ids=ids, use_cache=False)


def _stop_here(*args: Any) -> None:
    raise _EnoughError
