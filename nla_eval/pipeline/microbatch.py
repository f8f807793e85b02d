"""Merges requests of concurrent Inspect samples into batches for one worker thread, which owns one set of weights.

A request comes from any async task (asyncio or trio), and its result returns to the same task. The worker calls a plain
function over a list of requests. This module knows nothing of models: the caller defines the cost of a request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from ..errors import NlaEvalError

Req = TypeVar("Req")
Res = TypeVar("Res")


class BatchError(NlaEvalError):
    """The batch of a request failed. `__cause__` is the worker's exception."""


@dataclass(frozen=True)
class Work(Generic[Req, Res]):
    """One kind of work. Only requests with an equal `Work` share a batch."""

    name: str
    """For error messages and thread dumps: "capture", "verbalize", ..."""
    run: Callable[[list[Req]], Sequence[Res]]
    """Called in the worker thread with at least one request. Returns one result per request, in order."""
    max_cost: int
    """Largest total cost of a batch. A request above it runs alone."""
    max_items: int = 256
    patience: float = 0.0
    """A batch starts after this many seconds without a new request of any kind. Work with less patience goes first. Set
    it for batches that take so long that waiting for more requests always pays."""


@dataclass(eq=False)
class _Ticket:
    work: Work[Any, Any]
    request: Any
    cost: int
    token: EventLoopToken
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: BaseException | None = None
    cancelled: bool = False


class MicroBatcher:
    """One worker thread and its queue.

    A batch starts with the oldest request of the least patient kind. Other waiting requests of the same `Work` are
    added, oldest first, until the limit on cost or items is reached. An idle worker waits `linger` seconds after its
    first request: samples become ready within milliseconds of each other, and one padded batch of 30 costs far less
    than 30 batches of one.

    Args:
        name: Name of the thread.
        linger: Seconds an idle worker waits before it takes its first batch.
    """

    def __init__(self, name: str, *, linger: float = 0.010) -> None:
        self.name = name
        self.linger = linger
        self._waiting: list[_Ticket] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def submit(self, work: Work[Req, Res], request: Req, cost: int = 1) -> Res:
        """Queue `request` and wait for its result.

        If the waiting task is cancelled, the request is dropped unless its batch has started.

        Raises:
            BatchError: The batch failed with an exception that is not a user error.
            NlaEvalError: The batch failed with this user error, which is passed on unchanged.
        """
        ticket = _Ticket(work, request, cost, current_token())
        self._enqueue(ticket)
        try:
            await ticket.done.wait()
        finally:
            ticket.cancelled = True
        if ticket.error is None:
            result: Res = ticket.result
            return result
        if isinstance(ticket.error, NlaEvalError):
            raise ticket.error
        raise BatchError(f"{work.name} failed: {type(ticket.error).__name__}: {ticket.error}") from ticket.error

    @property
    def waiting(self) -> int:
        """Number of queued requests that are not yet in a batch."""
        with self._changed:
            return len(self._waiting)

    def close(self) -> None:
        """End the worker thread once its queue is empty. Later requests are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _enqueue(self, ticket: _Ticket) -> None:
        with self._changed:
            if self._closed:
                raise BatchError(f"{self.name} is closed and takes no more {ticket.work.name} requests")
            self._waiting.append(ticket)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _serve(self) -> None:
        while (batch := self._next_batch()) is not None:
            _run(batch)

    def _next_batch(self) -> list[_Ticket] | None:
        with self._changed:
            if not self._waiting:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._linger()
            self._await_company()
            return self._take() if self._waiting else None

    def _work(self) -> Work[Any, Any]:
        """The next kind of work: the least patient one; on a tie, the one with the oldest request."""
        return min((ticket.work for ticket in self._waiting), key=lambda work: work.patience)

    def _await_company(self) -> None:
        """Wait until no request has come for the patience of the next work."""
        while self._waiting and not self._closed and (patience := self._work().patience):
            count = len(self._waiting)
            self._changed.wait(patience)
            if len(self._waiting) == count or _full([t for t in self._waiting if t.work == self._work()]):
                return

    def _linger(self) -> None:
        deadline = time.monotonic() + self.linger
        while self._waiting and not self._closed and (left := deadline - time.monotonic()) > 0:
            if _full([t for t in self._waiting if t.work == self._waiting[0].work]):
                return
            self._changed.wait(left)

    def _take(self) -> list[_Ticket]:
        work = self._work()
        batch: list[_Ticket] = []
        cost = 0
        for ticket in self._waiting:
            if ticket.work != work:
                continue
            if batch and (cost + ticket.cost > work.max_cost or len(batch) >= work.max_items):
                break
            batch.append(ticket)
            cost += ticket.cost
        taken = set(map(id, batch))
        self._waiting = [t for t in self._waiting if id(t) not in taken]
        return batch


def _full(tickets: list[_Ticket]) -> bool:
    work = tickets[0].work
    return len(tickets) >= work.max_items or sum(t.cost for t in tickets) >= work.max_cost


def _run(batch: list[_Ticket]) -> None:
    live = [t for t in batch if not t.cancelled]
    if not live:
        return
    try:
        results = live[0].work.run([t.request for t in live])
        if len(results) != len(live):
            raise RuntimeError(f"{len(results)} results for {len(live)} requests")
        for ticket, result in zip(live, results, strict=True):
            ticket.result = result
    except Exception as err:
        for ticket in live:
            ticket.error = err
    for ticket in live:
        _deliver(ticket)


def _deliver(ticket: _Ticket) -> None:
    if ticket.cancelled:
        return
    try:
        from_thread.run_sync(ticket.done.set, token=ticket.token)
    except (RuntimeError, anyio.RunFinishedError):
        # The waiter's event loop ended while its batch ran (an interrupted eval), so nobody awaits the result.
        ticket.cancelled = True
