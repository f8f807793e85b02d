"""Recorded activations replace captured ones only if the tokens are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from nla_eval.engines.base import Captured, CaptureRequest
from nla_eval.engines.recorded import RecordedEngine, Recording
from tests.fakes import PlantedEngine

IDS = np.arange(100, 130, dtype=np.int32)


def asked(key: str, ids: NDArray[np.int32], *positions: int) -> CaptureRequest:
    return CaptureRequest(key, ids, np.array(positions, np.int64))


class Counted(PlantedEngine):
    """Remembers what it was asked to capture."""

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        given = list(requests)
        self.asked = sorted(request.key for request in given)
        return super().capture(given)


@pytest.fixture
def engine() -> Counted:
    return Counted()


def recorded(engine: Counted, ids: NDArray[np.int32], known: int) -> RecordedEngine:
    recording = Recording()
    rows = np.stack([engine.activation(ids[: place + 1]) for place in range(known)])
    recording.add(ids, rows)
    return RecordedEngine(engine, recording)


def test_a_recorded_sequence_is_not_captured_again_and_gives_the_same(engine: Counted) -> None:
    both = [asked("known", np.append(IDS, [7, 8]).astype(np.int32), 3, 28), asked("new", IDS + 1, 3, 28)]
    found = {c.key: c for c in recorded(engine, IDS, 29).capture(both)}
    assert engine.asked == ["new"]
    assert (found["known"].recorded, found["new"].recorded) == (True, False)
    for captured in engine.capture(both):
        np.testing.assert_array_equal(found[captured.key].activations, captured.activations)


@pytest.mark.parametrize(
    ("ids", "positions"),
    [
        pytest.param(IDS, (3, 29), id="a position behind what was recorded"),
        pytest.param(np.where(np.arange(30) == 20, 5, IDS).astype(np.int32), (3, 25), id="another token before it"),
        pytest.param(IDS, (3, 40), id="a position outside the replay"),
        pytest.param(IDS, (), id="no positions"),
    ],
)
def test_anything_else_goes_to_the_engine(engine: Counted, ids: NDArray[np.int32], positions: tuple[int, ...]) -> None:
    recording = recorded(engine, IDS, 29).recording
    seen: list[str] = []

    class Refusing(Counted):
        def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
            seen.extend(request.key for request in requests)
            return iter(())

    list(RecordedEngine(Refusing(), recording).capture([asked("other", ids, *positions)]))
    assert seen == ["other"]


def test_a_change_behind_the_last_position_does_not_matter(engine: Counted) -> None:
    changed = np.where(np.arange(30) == 20, 5, IDS).astype(np.int32)
    found = list(recorded(engine, IDS, 29).capture([asked("same", changed, 3, 19)]))
    assert [c.recorded for c in found] == [True]


def test_what_is_not_finite_is_captured_again(engine: Counted) -> None:
    reading = recorded(engine, IDS, 29)
    reading.recording._kept[0][1][3] = np.nan
    assert [c.recorded for c in reading.capture([asked("known", IDS, 3, 5)])] == [False]


def test_the_oldest_sequences_make_room() -> None:
    rows = np.ones((30, 8), np.float32)
    recording = Recording(max_bytes=2 * rows.nbytes)
    for first in range(3):
        recording.add(IDS + first, rows)
    known = [recording.find(asked("", IDS + first, 4)) is not None for first in range(3)]
    assert known == [False, True, True]
