"""Failing or small hardware: a clear line or row, or a slower run with the same numbers.

Processors without AVX-512: `tests/test_processors.py`. Too little memory for a batch: `test_fitting.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nla_eval.engines.base import Captured, CaptureRequest
from nla_eval.readings import StopReason
from tests.fakes import PlantedEngine, both_arms
from tests.pipeline.test_reading import run

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Overflowing(PlantedEngine):
    """One transcript's first activation holds a value that is no usable number."""

    on: str = ""
    value: float = np.inf

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        for captured in super().capture(requests):
            if captured.key == self.on:
                captured.activations[0, 3] = self.value
            yield captured


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_an_activation_that_overflowed_is_an_error_row_and_changes_nothing_else(tmp_path: Path, value: float) -> None:
    on = both_arms()[0].digest
    store, _ = run(tmp_path / "broken", Overflowing(on=on, value=value))
    whole, _ = run(tmp_path / "whole")
    broken, sound = store.readings(), whole.readings()
    failed = broken.filter(broken["stop"] == StopReason.ERROR.value)
    assert set(failed["transcript_digest"]) == {on}
    assert failed["error"].str.contains("finite").any()
    assert len(set(failed["position"])) == 1, "the others of the transcript are read"
    lost = set(failed.select("transcript_digest", "position", "lane", "draw").iter_rows())
    columns = ["transcript_digest", "position", "lane", "draw", "stop"]
    for (*key, stop), (*other, expected) in zip(
        broken.select(columns).iter_rows(), sound.select(columns).iter_rows(), strict=True
    ):
        assert key == other
        assert stop == expected or tuple(key) in lost


READ = """
import json, os, resource, sys
from pathlib import Path
cores, room, where = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
if cores:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
if room:
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
from tests.engines.tiny_pack import write_tiny_pack
from tests.fakes import both_arms
from tests.test_determinism import read
frame = read(where / "store", write_tiny_pack(where), both_arms(3), 700)
print(json.dumps(frame.select("explanation", "stop", "cos").rows()))
"""


def readings_with(cores: int, room: int, where: Path) -> list[list[object]]:
    """Readings of the tiny pair in a process that has so many cores and bytes (0: all there are)."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-c", READ, str(cores), str(room), str(where)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-500:]
    found: list[list[object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores of a process are set on Linux only")
def test_one_core_and_four_gigabytes_give_the_same_numbers(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("all", "small")]
    for place in places:
        place.mkdir()
    expected, found = readings_with(0, 0, places[0]), readings_with(1, 4 * 2**30, places[1])
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[2] == theirs[2] or abs(float(str(ours[2])) - float(str(theirs[2]))) < 1e-5
