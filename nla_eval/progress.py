"""Progress of long runs: stage, done, total, rate and time left, as events and as lines on a terminal.

The pipeline emits events; its caller decides how to show them. This module does not know what a stage does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_TELLING = 0.05
"""The time left is shown once this share of a stage is done."""


@dataclass(frozen=True)
class Event:
    """Progress of one stage."""

    stage: str
    done: int
    total: int | None
    """None while unknown."""
    unit: str
    """What is counted: "transcripts", "readings"."""
    elapsed: float
    """Seconds since the stage began."""

    @property
    def rate(self) -> float:
        """Mean units per second so far; 0 before the first unit."""
        return self.done / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left at this rate. None without a total, or while too little is done to estimate a rate: batched
        stages report nothing for a while and then many units at once."""
        if self.total is None or self.rate <= 0 or self.done < _TELLING * self.total:
            return None
        return (self.total - self.done) / self.rate

    @property
    def finished(self) -> bool:
        """True for the last event of a stage."""
        return self.total is not None and self.done >= self.total


Progress = Callable[[Event], None]
"""Receives events; called from the thread that runs the pipeline."""


def silent(event: Event) -> None:
    """A `Progress` that shows nothing."""


class Meter:
    """Counts one stage and emits an event at each step.

    Args:
        progress: Where events go.
        stage: The stage's name.
        total: Number of units; None if unknown.
        unit: Name of what is counted.
    """

    def __init__(self, progress: Progress, stage: str, total: int | None, unit: str) -> None:
        self._progress, self._stage, self._total, self._unit = progress, stage, total, unit
        self._done, self._began = 0, time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count `count` more units."""
        self._done += count
        elapsed = time.monotonic() - self._began
        self._progress(Event(self._stage, self._done, self._total, self._unit, elapsed))


class Lines:
    """Shows events: one line rewritten in place on a terminal, a line every few seconds elsewhere.

    Args:
        stream: Usually standard error.
        every: Seconds between plain lines.
    """

    def __init__(self, stream: TextIO, every: float = 10.0) -> None:
        self._stream, self._every = stream, every
        self._last: tuple[str, float] = ("", float("-inf"))
        self._live = _LiveLine(stream) if stream.isatty() else None

    def __call__(self, event: Event) -> None:
        """Show `event`. Skips it if a plain line about the same stage was written less than `every` seconds ago."""
        if self._live is not None:
            self._live.show(event)
            return
        stage, when = self._last
        now = time.monotonic()
        if event.finished or event.stage != stage or now - when >= self._every:
            self._last = (event.stage, now)
            self._stream.write(describe(event) + "\n")
            self._stream.flush()


class _LiveLine:
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)

    def show(self, event: Event) -> None:
        from rich.control import Control

        self._console.control(Control.move_to_column(0))
        width = max(self._console.width - 1, 20)
        line = describe(event)[:width].ljust(width)
        self._console.print(line, end="\n" if event.finished else "", markup=False, highlight=False)


def describe(event: Event) -> str:
    """An event as one line: "verbalize 96/288 readings, 3.1/s, 1 min 2 s left"."""
    count = f"{event.done}" if event.total is None else f"{event.done}/{event.total}"
    head = f"{event.stage} {count} {event.unit}"
    if event.finished:
        return f"{head}, {event.rate:.3g}/s, {duration(event.elapsed)}"
    left = "" if event.eta is None else f", {duration(event.eta)} left"
    return f"{head}, {event.rate:.3g}/s{left}"


def duration(seconds: float) -> str:
    """Seconds in words: "42 s", "1 min 2 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def peak_bytes() -> int:
    """Peak resident memory of this process.

    On Linux this is VmHWM, because getrusage includes what the parent process held when it started this one. Elsewhere
    it is getrusage, which counts KiB (bytes on macOS).
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    if peak := next((line for line in lines if line.startswith("VmHWM")), ""):
        return int(peak.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
