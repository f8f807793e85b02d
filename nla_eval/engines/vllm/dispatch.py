"""Distributes parcels of rows over servers. A server that fails is retried after growing waits and finally given up;
other servers get its rows. A row that fails on working servers becomes a failed answer.

In: parcels and a function that sends one. Out: answers as they arrive. This module knows no HTTP and no models."""

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
    """No server is left, or a server refuses a request. The run stops."""


class Unavailable(Exception):  # noqa: N818
    """A server did not answer one request.

    Args:
        reason: What happened instead, in a few words.
        rows_suspect: Whether the rows may be the cause. False if the request never reached the server.
    """

    def __init__(self, reason: str, *, rows_suspect: bool) -> None:
        super().__init__(reason)
        self.reason, self.rows_suspect = reason, rows_suspect


@dataclass(frozen=True)
class Patience:
    """Limits on waits and retries."""

    retries: int = 8
    """A server is given up after more than this many failures in a row."""
    backoff: float = 0.5
    """Seconds before a failed server is retried; doubles with each failure in a row."""
    backoff_max: float = 30.0
    row_attempts: int = 3
    """After this many failed requests with the same rows, test whether the rows are the cause."""


@dataclass(eq=False)
class Parcel(Generic[Row]):
    """Rows that are sent in one request."""

    rows: Sequence[Row]
    failures: int = 0
    first_failed: float = 0.0
    reason: str = ""
    suspect: Parcel[Row] | None = None
    """Set on a probe: the parcel that is the cause if the probe succeeds."""


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
        """Number of requests that may be sent to it now: after a failure one at a time, until it answers again."""
        if self.given_up or now < self.resume:
            return 0
        return (1 if self.strikes else concurrency) - self.in_flight

    def fail(self, reason: str, sent: float, patience: Patience) -> None:
        """Count a failure. Requests that were in flight together count as one strike."""
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
    """How to send parcels to servers."""

    urls: Sequence[str]
    session: Callable[[], AbstractAsyncContextManager[Callable[[str, Sequence[Row]], Awaitable[Sequence[Answer]]]]]
    """Opens a session. Its value is a function from (url, rows) to one answer per row, which raises `Unavailable`, or
    an NlaEvalError that ends the run."""
    failed: Callable[[Row, str], Answer]
    """Makes the answer for a row that no server can process, from the row and the reason."""
    harmless: Row
    """A row for probes, which show whether servers fail on everything or only on some rows. Its answer is dropped."""
    concurrency: int = 32
    """Largest number of requests in flight per server."""
    patience: Patience = field(default_factory=Patience)

    def run(self, parcels: Sequence[Parcel[Row]]) -> Iterator[Answer]:
        """Yield answers as they arrive. Servers stay busy while the caller processes an answer.

        Raises:
            ServerError: All servers are given up. Raised after all finished answers have been yielded.
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
    """The state of one run. Only the driving thread uses it, except for `out` and `stopped`."""

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
        """Queue the rows again, unless they keep failing while servers answer other rows."""
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
        """Find the faulty row in a parcel by sending its rows one by one. A single row gets a failed answer."""
        if len(parcel.rows) == 1:
            self.out.put(self.plan.failed(parcel.rows[0], parcel.reason))
        else:
            self.pending.extend(Parcel([row]) for row in parcel.rows)

    def _all_gone(self) -> str:
        told = "; ".join(f"{s.url} ({s.reason})" for s in self.servers)
        return (
            f"no vLLM server answers any more: {told}. Start one again, or correct the addresses behind "
            "'vllm-server:', then run the same command to resume"
        )
