"""The queue before the one engine: first come, first served, with the place in the queue, and cancelling.

A job says what happens in events, which are kept, so that a page that comes late or comes back hears all of them. This
module knows nothing of models or pages."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

from ..errors import InputError, NlaEvalError
from ..printable import told

_log = logging.getLogger(__name__)
MOST_WAITING = 32
_MOST_KEPT = 64
"""Finished jobs whose events can still be heard."""

Event = Mapping[str, Any]
"""What happened, under "event", with what belongs to it."""


class CancelledJobError(NlaEvalError):
    """A job was cancelled."""


class Stage(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_OVER = frozenset({Stage.DONE, Stage.FAILED, Stage.CANCELLED})


class Job:
    """One piece of work for the engine. Make one with `Line.join`."""

    def __init__(self, work: Callable[[Job], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        self.id = secrets.token_hex(8)
        self.work = work
        self.stage = Stage.WAITING
        self.cancelled = False
        self.events: list[Event] = []
        self._loop, self._changed = loop, asyncio.Event()

    def tell(self, event: str, **what: Any) -> None:
        """Add an event. Any thread may call it; events stay in the order in which they are told."""
        self._loop.call_soon_threadsafe(self._add, {"event": event, **what})

    def soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the event loop, in order with the events. Any thread may ask for it."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def go_on(self) -> None:
        """Raise CancelledJobError if the job is cancelled. Call it between steps."""
        if self.cancelled:
            raise CancelledJobError("cancelled")

    async def heard(self, after: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """Yield (number, event) of all events from number `after` on, until the job is over."""
        while True:
            changed = self._changed
            while after < len(self.events):
                yield after, self.events[after]
                after += 1
            if self.events and self.events[-1]["event"] == "over":
                return
            await changed.wait()

    def _add(self, event: Event) -> None:
        self.events.append(event)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Line:
    """The queue. `serve` must run in the event loop in which jobs join."""

    def __init__(self) -> None:
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._come = asyncio.Event()

    def join(self, work: Callable[[Job], Awaitable[None]]) -> Job:
        """Put work at the end of the queue. Raises InputError if the queue is full."""
        if len(self._waiting) >= MOST_WAITING:
            raise InputError(f"{MOST_WAITING} requests are waiting already; cancel some, or try again later")
        job = Job(work, asyncio.get_running_loop())
        self._waiting.append(job)
        self._jobs[job.id] = job
        while len(self._jobs) > _MOST_KEPT and next(iter(self._jobs.values())).stage in _OVER:
            self._jobs.popitem(last=False)
        self._tell_place(job, len(self._waiting) - 1)
        self._come.set()
        return job

    def job(self, job_id: str) -> Job:
        """The job of that id. Raises InputError if there is none."""
        if job_id not in self._jobs:
            raise InputError("no such request: it is over, or the explorer was started again; read the token again")
        return self._jobs[job_id]

    def cancel(self, job_id: str) -> None:
        """Cancel a job: at once if it waits, at its next step if it runs. One that is over stays as it is."""
        job = self.job(job_id)
        if job.stage in _OVER:
            return
        job.cancelled = True
        if job in self._waiting:
            self._waiting.remove(job)
            self._end(job, Stage.CANCELLED)
            self._tell_places()

    async def serve(self) -> None:
        """Run the jobs, one at a time, for ever. A job that fails tells why, and the next one runs."""
        while True:
            if not self._waiting:
                self._come.clear()
                await self._come.wait()
                continue
            job = self._running = self._waiting.pop(0)
            job.stage = Stage.RUNNING
            self._tell_places()
            job.tell("started")
            await self._run(job)
            self._running = None

    async def _run(self, job: Job) -> None:
        try:
            await job.work(job)
        except CancelledJobError:
            self._end(job, Stage.CANCELLED)
        except NlaEvalError as err:
            self._end(job, Stage.FAILED, told(err))
        except Exception as err:
            _log.exception("a request of the explorer failed")
            self._end(job, Stage.FAILED, f"{type(err).__name__}: {told(err)}; its traceback is in the terminal")
        else:
            self._end(job, Stage.DONE)

    def _tell_places(self) -> None:
        for ahead, job in enumerate(self._waiting):
            self._tell_place(job, ahead)

    def _tell_place(self, job: Job, ahead: int) -> None:
        job.tell("place", ahead=ahead + (self._running is not None))

    @staticmethod
    def _end(job: Job, stage: Stage, error: str = "") -> None:
        job.stage = stage
        job.tell("over", stage=stage.value, **({"error": error} if error else {}))
