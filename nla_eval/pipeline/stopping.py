"""Ctrl-C and SIGTERM: a stage that makes readings ends at its next result and keeps what is finished; then it stops.

Only signals and streams are known here, neither readings nor stores."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal has asked the run to stop."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        """What a shell expects: 130 after Ctrl-C, 143 after SIGTERM."""


class Stopping:
    """Whether a signal has asked for a stop, and whether the stop may wait for the next result."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None
        self._waits = False

    @contextmanager
    def at_the_next_result(self) -> Iterator[None]:
        """In the block the first signal raises nothing: `until` ends its stream. The block's end raises it.

        A second signal raises at once. Inside a stream of `until` it ends the wait for the next result.
        """
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self.asked is not None:
            raise self.asked

    def until(self, stream: Iterable[T]) -> Iterator[T]:
        """Yield the items of `stream` until a stop is asked for."""
        try:
            for item in stream:
                yield item
                if self.asked is not None:
                    return
        except KeyboardInterrupt as err:
            self.asked = self.asked or err

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked is not None, self.asked or Stopped(number)
        if again or not self._waits:
            raise self.asked


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Turn SIGINT and SIGTERM into `Stopped` in the block. In another thread than the main one, signals stay as they
    are: Python hands them to the main thread only."""
    found = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {number: signal.signal(number, found._signalled) for number in _SIGNALS}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
