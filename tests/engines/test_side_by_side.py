"""Batches side by side: every result once, few jobs ahead, errors and stops reach the caller, torch's setting stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from nla_eval.engines import side_by_side as room
from nla_eval.engines.side_by_side import (
    Split,
    StoppedError,
    checkpoint,
    in_order,
    measured_split,
    side_by_side,
    streamed,
)

TWO = Split(2, 1)


@pytest.mark.parametrize("split", [Split(), TWO, Split(3, 1)])
def test_every_job_gives_its_result_once(split: Split) -> None:
    jobs = [partial(pow, n, 2) for n in range(20)]
    assert sorted(side_by_side(jobs, split)) == [n * n for n in range(20)]


@pytest.mark.parametrize("split", [Split(), TWO])
def test_results_can_be_had_in_the_order_of_their_jobs(split: Split) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number < 2 else 0)
        return number

    assert in_order([partial(slow_at_first, n) for n in range(8)], split) == list(range(8))


def test_models_of_the_same_blocks_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MEASURED", {})
    trials = []
    monkeypatch.setattr(room, "_trial", lambda split, model, batches: trials.append(model) or 1.0)
    one, same, wider = (_decoder(width) for width in (4, 4, 8))
    measured_split(one, 2)
    assert set(map(id, trials)) == {id(one)}
    measured_split(same, 2)
    assert set(map(id, trials)) == {id(one)}
    measured_split(wider, 2)
    assert set(map(id, trials)) == {id(one), id(wider)}


def _decoder(width: int) -> torch.nn.Module:
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(3)])
    return model


def test_workers_are_several_threads_with_their_own_setting_and_the_callers_stays() -> None:
    before = torch.get_num_threads()
    both = threading.Barrier(2)

    def job() -> tuple[str, int]:
        both.wait(timeout=10)  # passes only while two jobs run
        return threading.current_thread().name, torch.get_num_threads()

    found = list(side_by_side([job, job], TWO))
    assert len({name for name, _ in found}) == 2
    assert {count for _, count in found} == {1}
    assert torch.get_num_threads() == before


def test_jobs_are_taken_from_their_source_as_they_are_needed() -> None:
    taken = []

    def source() -> Iterator[Callable[[], int]]:
        for n in range(100):
            taken.append(n)
            yield partial(int, n)

    results = side_by_side(source(), TWO)
    next(results)
    assert len(taken) <= 6  # two waiting or running for each that is done, at most
    results.close()  # type: ignore[attr-defined]


def test_a_jobs_error_is_the_callers() -> None:
    def fails() -> int:
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        list(side_by_side([partial(int, 1), fails, partial(int, 2)], TWO))


def test_a_caller_that_stops_ends_running_jobs_at_their_checkpoint() -> None:
    begun, stopped = threading.Event(), threading.Event()

    def endless() -> int:
        begun.set()
        try:
            while True:
                checkpoint()
                time.sleep(0.001)
        except StoppedError:
            stopped.set()
            raise

    results = side_by_side([partial(int, 1), endless, endless], TWO)
    assert next(results) == 1
    assert begun.wait(60)  # a job that has not begun is never run, and reaches no checkpoint
    results.close()  # type: ignore[attr-defined]
    assert stopped.is_set()


def test_a_checkpoint_outside_a_worker_does_nothing() -> None:
    checkpoint()


def test_one_core_is_not_shared_out() -> None:
    assert measured_split(None, 1) == Split()


@pytest.mark.parametrize(("together", "apart", "chosen"), [(1.0, 1.3, Split()), (1.0, 1.05, TWO), (1.0, 0.7, TWO)])
def test_the_measured_split_favours_batches_apart_within_a_margin(
    monkeypatch: pytest.MonkeyPatch, together: float, apart: float, chosen: Split
) -> None:
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Identity() for _ in range(3)])
    monkeypatch.setattr(room, "_MEASURED", {})
    monkeypatch.setattr(room, "_trial", lambda split, model, batches: together if split.workers == 1 else apart)
    assert measured_split(model, 2) == chosen
    assert not any(layer._forward_hooks for layer in model.layers)


@pytest.mark.parametrize("split", [Split(), TWO, Split(3, 1)])
def test_streams_of_several_jobs_give_all_their_items(split: Split) -> None:
    jobs = [partial(_counting, 10 * n, 5) for n in range(4)]
    assert sorted(streamed(jobs, split)) == sorted(10 * n + i for n in range(4) for i in range(5))


def test_an_item_comes_before_its_job_has_ended() -> None:
    release = threading.Event()

    def waits() -> Iterator[int]:
        yield 1
        assert release.wait(10)
        yield 2

    items = streamed([waits], TWO)
    assert next(items) == 1
    release.set()
    assert list(items) == [2]


def test_a_streams_error_is_the_callers_and_ends_the_others() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("planted")

    def endless() -> Iterator[int]:
        while True:
            time.sleep(0.001)
            yield 0

    with pytest.raises(ValueError, match="planted"):
        list(streamed([endless, fails], TWO))


def _counting(first: int, n: int) -> Iterator[int]:
    yield from range(first, first + n)
