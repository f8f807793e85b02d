"""One command in a process that a fault will meet: `nla-eval` with the planted engine, drawn slowly enough to be hit.

The harness (`crashes`) starts these processes from a server that has imported everything and run nothing, so that a
moment of a run is a moment of its work and not of Python's imports. Faults that a user without rights cannot cause are
planted in the file layer, and named so."""

from __future__ import annotations

import errno
import functools
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas  # noqa: F401  (with those below: what commands import when they run; a server imports it once)
import scipy.stats  # noqa: F401
import seaborn  # noqa: F401
import torch  # noqa: F401
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast  # noqa: F401

from .._rooms import load_room
from ..commands import cli, read, report  # noqa: F401
from ..engines import capture, fitting, recorded, side_by_side  # noqa: F401
from ..engines.base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from ..pipeline import reading
from ..store import files
from . import planted

for _room in ("classifiers", "reports", "suites"):
    load_room(_room)

__all__ = ["FAULTS", "Run", "start"]

OUTPUT = "output"
"""File of what a run prints. It is there as soon as the run works."""
DRAWN = "drawn"
"""File in which a run that ended by itself leaves the number of its draws."""
_PART = 32
"""Rows of a part, so that a run of a second writes many."""


@dataclass(frozen=True)
class Run:
    """A command, where it runs, and what happens to it."""

    folder: str
    """Its working folder. Paths in `args` are relative to it, so that every run is asked for in the same words."""
    args: tuple[str, ...]
    fault: str = ""
    """Name of a fault in `FAULTS`."""
    seed: int = 0
    """When the fault strikes."""
    pause: float = 0.0
    """Seconds that a draw and a reconstruction take, besides their work."""
    flush: float = 0.1
    """Seconds between writes."""
    signal_at: tuple[int, int] | None = None
    """A signal that the process gets at one of its draws: (signal, number of the draw)."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class SlowEngine(planted.PlantedEngine):
    """The planted engine, with a pause at each result."""

    pause: float = 0.0
    signal_at: tuple[int, int] | None = None

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        """Captures with pauses."""
        for captured in super().capture(requests):
            time.sleep(self.pause)
            yield captured

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Draws with pauses before they count."""
        for request in requests:
            time.sleep(self.pause)
            self.draws += 1
            if self.signal_at is not None and self.draws == self.signal_at[1]:
                os.kill(os.getpid(), self.signal_at[0])
            yield self._draw(request, sampling)

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Reconstructions with pauses."""
        time.sleep(self.pause * len(texts))
        return super().reconstruct(texts)


def start(run: Run) -> None:
    """In the new process: set up what was asked for, then be `nla-eval`."""
    os.chdir(run.folder)
    os.environ.update(run.environment)
    out = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["nla-eval", *run.args]
    engine = SlowEngine(pause=run.pause, signal_at=run.signal_at)
    planted.register(planted.PlantedKind(lambda: engine))
    setattr(read, "Workbench", functools.partial(reading.Workbench, flush_seconds=run.flush))  # noqa: B010
    reading._ROWS_PER_PART = _PART
    if run.fault:
        FAULTS[run.fault](random.Random(run.seed))
    try:
        cli.main()
    finally:
        Path(DRAWN).write_text(json.dumps(engine.draws))


def _failing_write(code: int) -> Callable[[random.Random], None]:
    """One of the first forty writes fails in the middle, and every later one."""

    def plant(rng: random.Random) -> None:
        left, plain = rng.randrange(40), os.fsync

        def fsync(file: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.ftruncate(file, os.fstat(file).st_size // 2)
                raise OSError(code, os.strerror(code))
            plain(file)

        setattr(os, "fsync", fsync)  # noqa: B010

    return plant


def _read_only(rng: random.Random) -> None:
    """Every write to the store is refused."""

    def refused(path: Path, data: bytes, *, exclusive: bool) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    files._write_local = refused


def _jumping_clock(rng: random.Random) -> None:
    """The wall clock jumps by up to a day, back or forth, each time that it is asked."""
    day, plain = 86_400, time.time
    time.time = lambda: plain() + rng.uniform(-day, day)
    time.time_ns = lambda: int(1e9 * (plain() + rng.uniform(-day, day)))


def _small_files(rng: random.Random) -> None:
    """The kernel lets no file of this process grow beyond a few kilobytes: a real short write."""
    largest = 4096 + rng.randrange(8192)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


FAULTS: dict[str, Callable[[random.Random], None]] = {
    "full disk (planted)": _failing_write(errno.ENOSPC),
    "quota (planted)": _failing_write(errno.EDQUOT),
    "file size limit": _small_files,
    "read-only store (planted)": _read_only,
    "clock jumps (planted)": _jumping_clock,
}
"""What happens inside a run's process, by name. Without "(planted)" the kernel does it."""
