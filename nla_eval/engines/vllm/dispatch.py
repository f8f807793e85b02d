"""Shares parcels of rows among servers: a server that fails is left alone for a growing while and in the end for good,
its rows go to the others, and rows that fail where others succeed become failures of their own.

Parcels and a function that sends one go in; answers come out as they arrive. It knows no HTTP and no models."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ...errors import NlaEvalError

Row = TypeVar("Row")
Answer = TypeVar("Answer")
_LOG = logging.getLogger(__name__)
_TICK = 0.2


class ServerError(NlaEvalError):
    """No server can go on, or one refuses what it is asked; the run stops."""


class Unavailable(Exception):  # noqa: N818
    """A server did not answer one request.

    Args:
        reason: What it did instead, in a few words.
        rows_suspect: Whether the rows may be the cause; not where the request never reached the server.
    """

    def __init__(self, reason: str, *, rows_suspect: bool) -> None:
        super().__init__(reason)
        self.reason, self.rows_suspect = reason, rows_suspect


@dataclass(frozen=True)
class Patience:
    """When to wait and when to give up."""

    retries: int = 8
    """A server is given up after this many failures in a row beyond the first."""
    backoff: float = 0.5
    """Seconds before a failed server is tried again; doubles with each failure in a row."""
    backoff_max: float = 30.0
    row_attempts: int = 3
    """Requests that may fail on the same rows before it is asked whether they are the cause."""


@dataclass(eq=False)
class Parcel(Generic[Row]):
    """Rows that travel together."""

    rows: Sequence[Row]
    failures: int = 0
    first_failed: float = 0.0
    reason: str = ""
    suspect: Parcel[Row] | None = None
    """Set on a probe: the rows that are the cause if the probe succeeds."""


@dataclass(eq=False)
class _Server:
    url: str
    strikes: int = 0
    last_strike: float = float("-inf")
    resume: float = float("-inf")
    in_flight: int = 0
    given_up: bool = False
    reason: str = ""

    def slots(self, concurrency: int, now: float) -> int:
        """Requests it may be sent now: one at a time until it answers again after a failure."""
        if self.given_up or now < self.resume:
            return 0
        return (1 if self.strikes else concurrency) - self.in_flight

    def fail(self, reason: str, sent: float, patience: Patience) -> None:
        """Requests that were under way together fail together: that is one strike."""
        self.reason = reason
        if sent < self.last_strike:
            return
        self.strikes += 1
        self.last_strike = time.monotonic()
        self.resume = self.last_strike + min(patience.backoff * 2 ** (self.strikes - 1), patience.backoff_max)
        self.given_up = self.strikes > patience.retries
        if self.strikes == 1 or self.given_up:
            _LOG.warning("server %s %s: %s", self.url, "given up" if self.given_up else "left alone a while", reason)


@dataclass
class Dispatch(Generic[Row, Answer]):
    """One run over some parcels."""

    urls: Sequence[str]
    session: Callable[[], AbstractAsyncContextManager[Callable[[str, Sequence[Row]], Awaitable[Sequence[Answer]]]]]
    """Opens what is needed to send; its value takes (url, rows) and gives one answer per row. Sending raises
    `Unavailable`, or an NlaEvalError that ends the run."""
    failed: Callable[[Row, str], Answer]
    """The answer of a row that no server can take, from the reason."""
    harmless: Row
    """Sent, and its answer dropped, to see whether servers fail on everything or on some rows only."""
    concurrency: int = 32
    """Requests under way at one server."""
    patience: Patience = field(default_factory=Patience)

    def run(self, parcels: Sequence[Parcel[Row]]) -> Iterator[Answer]:
        """Answers as they come. Servers stay busy while the caller works on what it got.

        Raises:
            ServerError: Every server is given up; raised after everything finished has been yielded.
        """
        run = _Dispatched(self, parcels)
        thread = threading.Thread(target=run.drive, name="nla-servers", daemon=True)
        thread.start()
        try:
            while (item := run.out.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            run.stopped = True
            thread.join()


class _Dispatched(Generic[Row, Answer]):
    """The state of one run; but for `out` and `stopped` touched by its driving thread only."""

    def __init__(self, plan: Dispatch[Row, Answer], parcels: Sequence[Parcel[Row]]) -> None:
        self.plan, self.pending = plan, deque(parcels)
        self.out: queue.SimpleQueue[Answer | BaseException | None] = queue.SimpleQueue()
        self.stopped = False
        self.servers = [_Server(url) for url in plan.urls]
        self.under_way: dict[asyncio.Task[Sequence[Answer]], tuple[_Server, Parcel[Row], float]] = {}
        self.last_answer = float("-inf")
        self.fatal: BaseException | None = None

    def drive(self) -> None:
        try:
            asyncio.run(self._drive())
            self.out.put(self.fatal)
        except BaseException as err:
            self.out.put(err)

    async def _drive(self) -> None:
        async with self.plan.session() as send:
            while (self.pending or self.under_way) and not self.stopped:
                if self.fatal is None:
                    self._assign(send)
                if self.under_way:
                    done, _ = await asyncio.wait(self.under_way, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self._settle(task)
                elif self.fatal is not None:
                    return
                elif all(server.given_up for server in self.servers):
                    self.fatal = ServerError(self._all_gone())
                else:
                    await asyncio.sleep(_TICK / 4)
            for task in self.under_way:
                task.cancel()
            await asyncio.gather(*self.under_way, return_exceptions=True)

    def _assign(self, send: Callable[[str, Sequence[Row]], Awaitable[Sequence[Answer]]]) -> None:
        now = time.monotonic()
        while self.pending:
            free = [s for s in self.servers if s.slots(self.plan.concurrency, now) > 0]
            if not free:
                return
            server = min(free, key=lambda s: s.in_flight)
            parcel = self.pending.popleft()
            server.in_flight += 1
            task = asyncio.ensure_future(send(server.url, parcel.rows))
            self.under_way[task] = (server, parcel, now)

    def _settle(self, task: asyncio.Task[Sequence[Answer]]) -> None:
        server, parcel, sent = self.under_way.pop(task)
        server.in_flight -= 1
        try:
            answers = task.result()
        except Unavailable as failure:
            server.fail(failure.reason, sent, self.plan.patience)
            self._again(parcel, failure)
        except Exception as err:
            self.fatal = self.fatal or err
        else:
            server.strikes, self.last_answer = 0, time.monotonic()
            if parcel.suspect is not None:
                self._blame(parcel.suspect)
            else:
                for answer in answers:
                    self.out.put(answer)

    def _again(self, parcel: Parcel[Row], failure: Unavailable) -> None:
        """Queue the rows anew, unless they fail again and again although servers answer others."""
        if failure.rows_suspect and parcel.suspect is None:
            parcel.first_failed = parcel.first_failed or time.monotonic()
            parcel.failures += 1
            parcel.reason = failure.reason
        if parcel.failures < self.plan.patience.row_attempts:
            self.pending.append(parcel)
        elif self.last_answer > parcel.first_failed:
            self._blame(parcel)
        else:
            self.pending.append(Parcel([self.plan.harmless], suspect=parcel))

    def _blame(self, parcel: Parcel[Row]) -> None:
        """Find the row at fault among those of a parcel; a row on its own gets its failure as its answer."""
        if len(parcel.rows) == 1:
            self.out.put(self.plan.failed(parcel.rows[0], parcel.reason))
        else:
            self.pending.extend(Parcel([row]) for row in parcel.rows)

    def _all_gone(self) -> str:
        told = "; ".join(f"{s.url} ({s.reason})" for s in self.servers)
        return (
            f"no vLLM server answers any more: {told}. Start one again, or correct the addresses behind "
            "'vllm-server:', then run the same command: it goes on from the store"
        )
