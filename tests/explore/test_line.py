"""The queue: one job at a time, each told its place, cancelled at once or at its next step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from nla_eval.errors import InputError
from nla_eval.explore import line as line_module
from nla_eval.explore.line import Job, Line


def ran(scene: Callable[[Line], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        line = Line()
        serving = asyncio.create_task(line.serve())
        await asyncio.wait_for(scene(line), 10)
        serving.cancel()

    asyncio.run(whole())


async def events(job: Job, after: int = 0) -> list[dict[str, Any]]:
    return [dict(event) async for _, event in job.heard(after)]


def test_jobs_run_in_order_and_each_is_told_how_many_are_ahead() -> None:
    done: list[str] = []

    async def scene(line: Line) -> None:
        gate = asyncio.Event()

        def named(name: str) -> Callable[[Job], Coroutine[Any, Any, None]]:
            async def work(job: Job) -> None:
                await gate.wait()
                done.append(name)

            return work

        jobs = [line.join(named(name)) for name in "abc"]
        await asyncio.sleep(0.01)
        gate.set()
        told = [await events(job) for job in jobs]
        assert [[e["ahead"] for e in each if e["event"] == "place"] for each in told] == [[0], [1, 1], [2, 2, 1]]
        assert [each[-1] for each in told] == [{"event": "over", "stage": "done"}] * 3

    ran(scene)
    assert done == ["a", "b", "c"]


def test_a_waiting_job_is_cancelled_at_once_and_the_others_move_up() -> None:
    async def scene(line: Line) -> None:
        gate = asyncio.Event()

        async def work(job: Job) -> None:
            await gate.wait()

        first, second, third = (line.join(work) for _ in range(3))
        await asyncio.sleep(0.01)
        line.cancel(second.id)
        assert (await events(second))[-1] == {"event": "over", "stage": "cancelled"}
        await asyncio.sleep(0.01)
        assert third.events[-1] == {"event": "place", "ahead": 1}
        gate.set()
        assert (await events(third))[-1]["stage"] == "done"
        line.cancel(first.id)
        assert first.events[-1]["stage"] == "done", "cancelling what is over changes nothing"

    ran(scene)


def test_a_running_job_is_cancelled_at_its_next_step_and_the_next_one_runs() -> None:
    async def scene(line: Line) -> None:
        async def endless(job: Job) -> None:
            while True:
                job.go_on()
                await asyncio.sleep(0)

        async def short(job: Job) -> None:
            job.tell("words", text="hello")

        first, second = line.join(endless), line.join(short)
        await asyncio.sleep(0.01)
        line.cancel(first.id)
        assert (await events(first))[-1]["stage"] == "cancelled"
        assert [e["event"] for e in await events(second)][-3:] == ["started", "words", "over"]

    ran(scene)


@pytest.mark.parametrize(
    ("error", "shown"),
    [(InputError("no such token"), "no such token"), (RuntimeError("a bug"), "RuntimeError: a bug; its traceback")],
)
def test_a_failed_job_says_why_and_the_next_one_runs(
    error: Exception, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(line: Line) -> None:
        async def failing(job: Job) -> None:
            raise error

        async def fine(job: Job) -> None:
            return

        first, second = line.join(failing), line.join(fine)
        over = (await events(first))[-1]
        assert over["stage"] == "failed"
        assert over["error"].startswith(shown)
        assert (await events(second))[-1]["stage"] == "done"

    with caplog.at_level(logging.ERROR):
        ran(scene)
    assert bool(caplog.records) is isinstance(error, RuntimeError), "only a bug is logged"


def test_a_page_that_comes_back_hears_the_rest() -> None:
    async def scene(line: Line) -> None:
        async def work(job: Job) -> None:
            for number in range(3):
                job.tell("words", text=str(number))

        job = line.join(work)
        whole = await events(job)
        assert await events(job, 3) == whole[3:]
        assert len(whole) == 6

    ran(scene)


def test_the_queue_has_an_end_and_forgets_finished_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "MOST_WAITING", 2)
    monkeypatch.setattr(line_module, "_MOST_KEPT", 2)

    async def scene(line: Line) -> None:
        async def work(job: Job) -> None:
            return

        first = line.join(work)
        line.join(work)
        with pytest.raises(InputError, match="2 requests are waiting already"):
            line.join(work)
        await events(first)
        await asyncio.sleep(0.01)
        line.join(work)
        with pytest.raises(InputError, match="no such request"):
            line.job(first.id)

    ran(scene)
