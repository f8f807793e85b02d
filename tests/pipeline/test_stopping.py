"""Ctrl-C and SIGTERM: what is drawn is stored, the run says how to go on, and a second signal does not wait."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from nla_eval.engines.base import Draw, Sampling, VerbalizeRequest
from nla_eval.pipeline.plan import plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.stopping import Stopped, stopping
from nla_eval.store.store import ReadingStore
from tests.fakes import PlantedEngine, both_arms, plain_scores
from tests.pipeline.test_reading import INSTRUMENT, PLAN, run, same

HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.fixture(autouse=True)
def handlers_are_restored() -> Iterator[None]:
    yield
    assert {number: signal.getsignal(number) for number in HANDLERS} == HANDLERS


@dataclass
class Signalled(PlantedEngine):
    """Gets a signal while it draws."""

    number: int = signal.SIGINT
    after: int = 0

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        for draw in super().verbalize(requests, sampling):
            if self.draws == self.after:
                os.kill(os.getpid(), self.number)
            yield draw


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", [1, 200])
def test_all_that_is_drawn_is_stored_and_the_next_run_makes_the_rest(
    tmp_path: Path, number: int, code: int, after: int
) -> None:
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(Stopped) as stopped:
        run(tmp_path / "cut", Signalled(number=number, after=after), flush_seconds=1e9)
    assert stopped.value.exit_code == code
    cut = ReadingStore.open(str(tmp_path / "cut"))
    rows = cut.readings()
    assert rows.height == after
    assert rows["cos"].drop_nulls().len() == (rows["lane"] != "no_injection").sum(), "what is stored is scored"
    assert not cut.complete
    engine = PlantedEngine()
    resumed, result = run(tmp_path / "cut", engine)
    same(resumed, whole)
    assert (result.present, engine.draws, engine.captures) == (after, 420 - after, 0)


def test_what_is_captured_is_stored_too(tmp_path: Path) -> None:
    class Capturing(PlantedEngine):
        def capture(self, requests):  # type: ignore[no-untyped-def]
            for captured in super().capture(requests):
                if self.captures == 5:
                    os.kill(os.getpid(), signal.SIGINT)
                yield captured

    with pytest.raises(Stopped):
        run(tmp_path, Capturing())
    assert len(ReadingStore.open(str(tmp_path)).activations()) == 5


def test_a_second_signal_ends_the_wait_for_the_next_result() -> None:
    def endless() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        yield 2

    got = []
    with pytest.raises(Stopped), stopping() as stop, stop.at_the_next_result():
        got.extend(stop.until(endless()))
    assert got == [1]


def test_a_second_signal_stops_at_once_while_results_are_written() -> None:
    got = []

    def write() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        got.append("waits")
        os.kill(os.getpid(), signal.SIGTERM)
        got.append("not reached")

    with pytest.raises(Stopped), stopping() as stop, stop.at_the_next_result():
        write()
    assert got == ["waits"]


def test_outside_of_results_the_first_signal_stops() -> None:
    with pytest.raises(Stopped), stopping():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_failed_write_is_told_and_not_hidden_by_the_stop() -> None:
    def write() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("full")

    with pytest.raises(OSError, match="full"), stopping() as stop, stop.at_the_next_result():
        write()


def test_in_another_thread_signals_stay_as_they_are(tmp_path: Path) -> None:
    made: list[int] = []

    def work() -> None:
        planned = plan_run(both_arms(), INSTRUMENT, PLAN)
        store = ReadingStore.create(str(tmp_path), planned.identity)
        made.append(read_in_process(planned, Workbench(PlantedEngine, store, plain_scores)).made)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert made == [420]
