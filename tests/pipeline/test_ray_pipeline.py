"""On Ray, two workers make the same store as one process, and a killed worker costs only its current unit."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from nla_eval.commands.read import ReadRequest
from nla_eval.commands.read import run as read_command
from nla_eval.engines.base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.errors import InputError, MissingExtraError, NlaEvalError, StoreError
from nla_eval.models.pack import load_pack
from nla_eval.models.scores import ar_scores
from nla_eval.models.target import load_target
from nla_eval.pipeline.plan import Instrument, PlannedRun, ReadingPlan, plan_run
from nla_eval.pipeline.ray import RayResources, RayWorkbench, StageResources, parse_resources, read_on_ray
from nla_eval.pipeline.ray_actors import Weights
from nla_eval.pipeline.reading import ReadResult, Scores, Workbench, read_in_process
from nla_eval.readings import Lane, StopReason
from nla_eval.store.store import ReadingStore
from tests.engines.tiny_pack import write_tiny_pack
from tests.fakes import both_arms

ROOT = Path(__file__).resolve().parents[2]
HALF = StageResources(workers=1, cpus=0.25)
STAGES = RayResources(
    replace(HALF, workers=2), replace(HALF, workers=2), HALF, transcripts_per_unit=2, readings_per_unit=10
)
PLAN = ReadingPlan(
    positions="uniform_response(5)", seed=3, lanes=(Lane.MEASURED, Lane.DONOR, Lane.GAUSSIAN), max_new_tokens=12
)

READINGS = 150
"""12 transcripts of 5 positions in the measured and Gaussian lanes, half of them also in the donor lane."""


@dataclass(frozen=True)
class Planted:
    """What befalls the workers of a run."""

    kills: tuple[str, ...] = ()
    """RayResources of which one worker, in its second unit, ends its own process."""
    deadly: str = ""
    """A transcript's digest whose capture ends the process, every time."""
    waits: int = 1
    """How many workers must have come to draw before any of them draws."""


@dataclass
class Watched:
    """The real engine of the tiny pack, which writes down what it is asked for and meets what is planted.

    It calls every draw closed: a random AV never writes its close tag, and only closed explanations are scored.
    """

    inner: TransformersEngine
    log: Path
    planted: Planted
    calls: int = 0

    @property
    def layer(self) -> int:
        return self.inner.layer

    @property
    def d_model(self) -> int:
        return self.inner.d_model

    def capture(self, requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        asked = list(requests)
        self._note("capture", [r.key for r in asked])
        if self.planted.deadly in [r.key for r in asked]:
            _die()
        for captured in self.inner.capture(asked):
            yield captured
            self._die_once("capture")

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        self._note("verbalize", [r.key for r in requests])
        end = time.monotonic() + 120
        while len(list(self.log.glob("verbalize-*"))) < self.planted.waits and time.monotonic() < end:
            time.sleep(0.05)
        for draw in self.inner.verbalize(requests, sampling):
            yield replace(draw, stop=StopReason.CLOSED)
            self._die_once("verbalize")

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self._note("reconstruct", list(texts))
        self._die_once("reconstruct")
        return self.inner.reconstruct(texts)

    def _note(self, stage: str, keys: list[str]) -> None:
        self.calls += 1
        with (self.log / f"{stage}-{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(keys) + "\n")

    def _die_once(self, stage: str) -> None:
        if stage in self.planted.kills and self.calls == 2:
            try:
                (self.log / f"killed-{stage}").touch(exist_ok=False)
            except FileExistsError:
                return
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tiny_weights(folder: Path, log: Path, planted: Planted = Planted()) -> Weights:
    """What a Ray actor loads: real weights, without the self-test that a random pack cannot pass."""
    import torch

    target, pack = load_target(str(folder / "target")), load_pack(str(folder / "pack"))
    engine = TransformersEngine(target, pack, EngineConfig(torch.float32))
    return Weights(Watched(engine, log, planted), partial(ar_scores, baselines=pack.baselines))


def units(log: Path, stage: str) -> list[list[str]]:
    """What each call of a stage was asked for, over all processes."""
    return [json.loads(line) for file in log.glob(f"{stage}-*.jsonl") for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PlannedRun]:
    folder = tmp_path_factory.mktemp("tiny")
    target, pack = write_tiny_pack(folder)
    return folder, plan_run(both_arms(), Instrument(target, pack), PLAN)


@pytest.fixture(scope="module")
def ray(tiny: tuple[Path, PlannedRun]) -> Iterator[Any]:
    """A Ray cluster of this machine: one node of two CPUs."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'nla_eval[ray]'")
    pytest.importorskip("ray.data", reason="ray has no data library here: pip install 'nla_eval[ray]'")
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}},
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def alone(tiny: tuple[Path, PlannedRun], tmp_path_factory: pytest.TempPathFactory) -> ReadingStore:
    """The store of one process."""
    folder, run = tiny
    where = tmp_path_factory.mktemp("alone")
    store = ReadingStore.create(str(where / "store"), run.identity)
    weights = tiny_weights(folder, where)
    read_in_process(run, Workbench(lambda: weights.engine, store, weights.scorer))
    return store


def same(one: ReadingStore, two: ReadingStore) -> None:
    """Equal content: explanations exactly, norms and scores within 1e-5, activations within a millionth of their norm.

    An activation is a sum of every layer before it, so that what float32 rounds away goes with the size of the whole
    vector (eight units in its last place at most here), however small one component comes out.
    """
    assert_frame_equal(one.readings(), two.readings(), abs_tol=1e-5, rel_tol=1e-6)
    assert_frame_equal(one.transcripts(), two.transcripts())
    ours, theirs = one.activations(), two.activations()
    assert {d: s.positions.tolist() for d, s in ours.items()} == {d: s.positions.tolist() for d, s in theirs.items()}
    for digest, stored in ours.items():
        expected = theirs[digest].activations
        apart = np.abs(stored.activations - expected) / np.linalg.norm(expected, axis=1, keepdims=True)
        assert apart.max() <= 1e-6
    assert one.complete
    assert two.complete


def on_ray(tiny: tuple[Path, PlannedRun], where: Path, planted: Planted = Planted()) -> tuple[ReadingStore, ReadResult]:
    folder, run = tiny
    store = ReadingStore.create(str(where / "store"), run.identity)
    bench = RayWorkbench(partial(tiny_weights, folder, where, planted), store.url, STAGES)
    return store, read_on_ray(run, bench)


@pytest.mark.full
def test_two_workers_make_the_store_of_one_process(
    ray: Any, tiny: tuple[Path, PlannedRun], alone: ReadingStore, tmp_path: Path
) -> None:
    store, result = on_ray(tiny, tmp_path, Planted(waits=2))
    same(store, alone)
    assert store.readings()["cos"].null_count() == 0
    assert result.stops == {"closed": READINGS}
    assert sum(result.donor_levels.values()) == 30
    ours, theirs = store.manifest, alone.manifest
    assert ours is not None
    assert theirs is not None
    assert ours.provenance == {**theirs.provenance, "ray": ray.__version__}
    assert len(list(tmp_path.glob("verbalize-*.jsonl"))) == 2
    assert len(units(tmp_path, "capture")) == 6
    assert len(units(tmp_path, "verbalize")) == 15
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    _, again = on_ray(tiny, tmp_path)
    assert (again.made, again.present) == (0, READINGS)
    assert list(tmp_path.glob("*.jsonl")) == []


@pytest.mark.full
def test_killed_workers_lose_nothing_and_cost_the_unit_they_were_at(
    ray: Any, tiny: tuple[Path, PlannedRun], alone: ReadingStore, tmp_path: Path
) -> None:
    stages = ("capture", "verbalize", "reconstruct")
    store, result = on_ray(tiny, tmp_path, Planted(kills=stages))
    assert all((tmp_path / f"killed-{stage}").exists() for stage in stages)
    same(store, alone)
    assert result.stops == {"closed": READINGS}
    asked = {stage: units(tmp_path, stage) for stage in stages}
    assert {stage: len(calls) - len({str(keys) for keys in calls}) for stage, calls in asked.items()} == dict.fromkeys(
        stages, 1
    )


@pytest.mark.full
def test_a_unit_that_ends_every_worker_stops_the_run_and_what_is_finished_is_kept(
    ray: Any, tiny: tuple[Path, PlannedRun], alone: ReadingStore, tmp_path: Path
) -> None:
    folder, run = tiny
    last = run.prepared[-1].digest
    with pytest.raises(NlaEvalError, match="4 workers died at the same unit") as caught:
        on_ray(tiny, tmp_path, Planted(deadly=last))
    assert "\n" not in str(caught.value)
    assert sum(last in keys for keys in units(tmp_path, "capture")) == 4
    store = ReadingStore.open(str(tmp_path / "store"))
    kept = {digest for digest, _ in store.captured()}
    assert kept
    assert last not in kept
    assert not store.complete
    weights = tiny_weights(folder, tmp_path)
    read_in_process(run, Workbench(lambda: weights.engine, store, weights.scorer))
    same(store, alone)


@pytest.mark.full
def test_a_run_begun_by_one_process_is_finished_on_ray(
    ray: Any, tiny: tuple[Path, PlannedRun], alone: ReadingStore, tmp_path: Path
) -> None:
    folder, run = tiny
    half = replace(run, plan=replace(run.plan, lanes=(Lane.MEASURED,)))
    before = tmp_path / "before"
    before.mkdir()
    weights = tiny_weights(folder, before)
    store = ReadingStore.create(str(tmp_path / "store"), run.identity)
    read_in_process(half, Workbench(lambda: weights.engine, store, weights.scorer))
    store, result = on_ray(tiny, tmp_path)
    assert (result.made, result.present) == (READINGS - 60, 60)
    assert units(tmp_path, "capture") == []
    same(store, alone)


@pytest.mark.full
def test_a_user_mistake_in_an_actor_comes_out_in_one_line(
    ray: Any, tiny: tuple[Path, PlannedRun], tmp_path: Path
) -> None:
    _, run = tiny
    store = ReadingStore.create(str(tmp_path), run.identity)
    bench = RayWorkbench(_no_pack, store.url, STAGES)
    with pytest.raises(NlaEvalError, match=r"^planted: no such pack$"):
        read_on_ray(run, bench)


def _no_pack() -> Weights:
    raise InputError("planted: no such pack")


@pytest.mark.full
def test_more_than_the_machine_has_is_refused_and_does_not_hang(
    ray: Any, tiny: tuple[Path, PlannedRun], tmp_path: Path
) -> None:
    folder, run = tiny
    store = ReadingStore.create(str(tmp_path), run.identity)
    bench = RayWorkbench(partial(tiny_weights, folder, tmp_path), store.url, parse_resources("verbalize=40"))
    with pytest.raises(InputError, match=r"the cluster has 2"):
        read_on_ray(run, bench)


def test_resources_are_told_in_words() -> None:
    assert parse_resources("3") == RayResources(StageResources(3), StageResources(3), StageResources(3))
    told = parse_resources("capture=2,verbalize=4, verbalize.gpus=1,reconstruct.gpus=0.25,reconstruct.cpus=2")
    assert told.capture == StageResources(2)
    assert told.verbalize == StageResources(4, gpus=1.0)
    assert told.reconstruct == StageResources(1, cpus=2.0, gpus=0.25)


@pytest.mark.parametrize("text", ["", "0", "-1", "judge=2", "capture.memory=1", "capture=x", "capture=0"])
def test_resources_that_cannot_be_had_are_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_resources(text)
    assert "\n" not in str(caught.value)


def test_without_ray_the_install_command_is_told(
    tiny: tuple[Path, PlannedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run = tiny
    store = ReadingStore.create(str(tmp_path), run.identity)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nla_eval\[ray\]'"):
        read_on_ray(run, RayWorkbench(partial(tiny_weights, folder, tmp_path), store.url))


def test_what_cannot_be_read_on_ray_is_refused_before_it_starts(tiny: tuple[Path, PlannedRun], tmp_path: Path) -> None:
    folder, run = tiny
    load = partial(tiny_weights, folder, tmp_path)
    store = ReadingStore.create(str(tmp_path / "a"), run.identity.model_copy(update={"seed": 9}))
    with pytest.raises(StoreError, match="made with seed 9"):
        read_on_ray(run, RayWorkbench(load, store.url))
    none = replace(run, identity=run.identity.model_copy(update={"activations": "none"}))
    store = ReadingStore.create(str(tmp_path / "b"), none.identity)
    with pytest.raises(InputError, match="--activations float32"):
        read_on_ray(none, RayWorkbench(load, store.url))


def test_scores_are_made_with_the_readings_or_not_on_ray(tmp_path: Path) -> None:
    request = ReadRequest(
        (), (), str(tmp_path / "store"), PLAN, RuntimeSettings("none"), scores=Scores.MISSING, ray="2"
    )
    with pytest.raises(InputError, match="--scores missing does not work with --ray"):
        read_command(request)
    assert not (tmp_path / "store").exists()
