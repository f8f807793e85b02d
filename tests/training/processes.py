"""Starts processes as `torchrun` would, for tests of what they do together."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch

_SECONDS = 300


def together(size: int, work: Callable[..., None], *given: Any) -> None:
    """Run `work(*given)` in `size` new processes of one group; all have to end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_process, args=(rank, size, port, work, given)) for rank in range(size)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=_SECONDS)
    assert [worker.exitcode for worker in workers] == [0] * size


def _process(rank: int, size: int, port: int, work: Callable[..., None], given: tuple[Any, ...]) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(size), RANK=str(rank))
    os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(size))
    torch.set_num_threads(1)
    work(*given)
    torch.distributed.destroy_process_group()
