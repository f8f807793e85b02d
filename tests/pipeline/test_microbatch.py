"""Claims about merging requests of concurrent samples into batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib.util import find_spec

import anyio
import pytest
from anyio.abc import TaskGroup

from nla_eval.errors import InputError
from nla_eval.pipeline.microbatch import BatchError, MicroBatcher, Work

BACKENDS = [
    "asyncio",
    pytest.param("trio", marks=pytest.mark.skipif(find_spec("trio") is None, reason="trio is not installed")),
]


class Recorder:
    """A worker function that doubles numbers and remembers each batch it was given."""

    def __init__(self, delay: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.delay = delay

    def __call__(self, requests: list[int]) -> list[int]:
        self.batches.append(list(requests))
        self.threads.add(threading.get_ident())
        time.sleep(self.delay)
        if any(r < 0 for r in requests):
            raise ValueError(f"negative among {requests}")
        return [2 * r for r in requests]


class Gate:
    """Keeps the worker busy until everything under test is queued, so that no claim rests on timing."""

    def __init__(self, batcher: MicroBatcher) -> None:
        self.batcher = batcher
        self.running, self.opened = threading.Event(), threading.Event()
        self.work: Work[int, int] = Work("gate", self._wait, max_cost=1)

    def _wait(self, requests: list[int]) -> list[int]:
        self.running.set()
        assert self.opened.wait(10)
        return requests

    async def shut(self, group: TaskGroup) -> None:
        group.start_soon(self.batcher.submit, self.work, 0)
        while not self.running.is_set():
            await anyio.sleep(0.001)

    async def open_when(self, queued: int) -> None:
        while self.batcher.waiting < queued:
            await anyio.sleep(0.001)
        self.opened.set()


def run_all(
    backend: str, requests: list[int], work: Work[int, int], cost: Callable[[int], int] = lambda _: 1
) -> dict[int, object]:
    batcher = MicroBatcher("test")
    gate = Gate(batcher)
    out: dict[int, object] = {}

    async def one(request: int) -> None:
        try:
            out[request] = await batcher.submit(work, request, cost(request))
        except (BatchError, InputError) as err:
            out[request] = err

    async def main() -> None:
        async with anyio.create_task_group() as group:
            await gate.shut(group)
            for n, request in enumerate(requests):
                group.start_soon(one, request)
                while batcher.waiting <= n:  # trio starts tasks in random order
                    await anyio.sleep(0.001)
            await gate.open_when(len(requests))

    anyio.run(main, backend=backend)
    batcher.close()
    return out


@pytest.mark.parametrize("backend", BACKENDS)
def test_concurrent_requests_share_one_batch_and_keep_their_answers(backend: str) -> None:
    recorder = Recorder()
    out = run_all(backend, list(range(30)), Work("double", recorder, max_cost=100))
    assert out == {i: 2 * i for i in range(30)}
    assert len(recorder.batches) == 1
    assert recorder.threads != {threading.get_ident()}


def test_a_batch_never_exceeds_its_cost_and_one_large_request_travels_alone() -> None:
    recorder = Recorder()
    run_all("asyncio", [3, 4, 50, 5, 6], Work("double", recorder, max_cost=10), cost=lambda r: r)
    assert recorder.batches == [[3, 4], [50], [5], [6]]


def test_a_batch_never_exceeds_its_item_count() -> None:
    recorder = Recorder()
    run_all("asyncio", list(range(10)), Work("double", recorder, max_cost=100, max_items=4))
    assert [len(b) for b in recorder.batches] == [4, 4, 2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failing_batch_fails_only_its_own_samples(backend: str) -> None:
    recorder = Recorder()
    out = run_all(backend, [1, 2, -3, 4], Work("double", recorder, max_cost=100, max_items=2))
    failed = {r for r, v in out.items() if isinstance(v, BatchError)}
    assert failed == {-3, 4}
    assert out[1] == 2
    assert out[2] == 4
    assert "double failed: ValueError: negative among" in str(out[-3])


def test_a_user_error_reaches_the_sample_unwrapped() -> None:
    def refuse(_: list[int]) -> list[int]:
        raise InputError("no such pack")

    out = run_all("asyncio", [1], Work("double", refuse, max_cost=1))
    assert isinstance(out[1], InputError)


def test_a_worker_that_loses_a_result_is_an_error_not_a_shift() -> None:
    out = run_all("asyncio", [1, 2], Work("short", lambda requests: requests[:1], max_cost=10))
    assert all(isinstance(v, BatchError) for v in out.values())


def test_different_work_never_shares_a_batch_and_runs_in_one_thread() -> None:
    first, second = Recorder(), Recorder()
    works = [Work("a", first, max_cost=100), Work("b", second, max_cost=100)]
    batcher = MicroBatcher("test")
    gate = Gate(batcher)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            await gate.shut(group)
            for i in range(6):
                group.start_soon(batcher.submit, works[i % 2], i)
            await gate.open_when(6)

    anyio.run(main)
    assert [sorted(b) for b in first.batches] == [[0, 2, 4]]
    assert [sorted(b) for b in second.batches] == [[1, 3, 5]]
    assert first.threads == second.threads


def test_patient_work_lets_other_work_go_first_and_waits_for_what_that_makes_ready() -> None:
    order: list[list[int]] = []
    slow = Work("slow", lambda requests: order.append(list(requests)) or requests, max_cost=100, patience=0.3)
    quick = Recorder()
    batcher = MicroBatcher("test")
    gate = Gate(batcher)

    async def two_steps(number: int) -> None:
        await batcher.submit(Work("quick", quick, max_cost=1), number)
        await batcher.submit(slow, number)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            await gate.shut(group)
            group.start_soon(batcher.submit, slow, 0)
            while not batcher.waiting:
                await anyio.sleep(0.001)
            for number in range(1, 6):
                group.start_soon(two_steps, number)
            await gate.open_when(6)

    anyio.run(main)
    assert [len(batch) for batch in quick.batches] == [1] * 5
    assert [sorted(batch) for batch in order] == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancelled_waiter_is_dropped_before_its_batch(backend: str) -> None:
    recorder = Recorder()
    batcher = MicroBatcher("test")
    gate = Gate(batcher)
    work = Work("double", recorder, max_cost=100)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            await gate.shut(group)
            with anyio.move_on_after(0.02):
                await batcher.submit(work, 2)
            group.start_soon(batcher.submit, work, 3)
            await gate.open_when(2)

    anyio.run(main, backend=backend)
    assert recorder.batches == [[3]]


def test_an_ended_event_loop_does_not_kill_the_worker() -> None:
    recorder = Recorder(delay=0.1)
    batcher = MicroBatcher("test")
    work = Work("double", recorder, max_cost=100)

    async def impatient() -> None:
        with anyio.move_on_after(0.03):
            await batcher.submit(work, 1)

    async def patient() -> int:
        return await batcher.submit(work, 5)

    anyio.run(impatient)
    assert anyio.run(patient) == 10


def test_a_closed_batcher_refuses_with_a_clear_line() -> None:
    batcher = MicroBatcher("nla-target:x")
    batcher.close()

    async def main() -> None:
        await batcher.submit(Work("capture", lambda r: r, max_cost=1), 1)

    with pytest.raises(BatchError, match="nla-target:x is closed"):
        anyio.run(main)
