"""The pipeline on a Ray cluster: Ray Data moves units of work through capture, verbalize and reconstruct actors.

In: a planned run, a store that every machine can reach, and a function that loads the weights in an actor. Out: the
same store that one process would make. Ray Data does scheduling, back-pressure, resources and restarts of dead workers;
the stages are those of the pipeline. A task is one unit, so a killed worker loses at most one unit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, TypeVar

from ..errors import InputError, MissingExtraError, NlaEvalError
from ..progress import Meter, Progress, silent
from ..readings import LANES, Lane
from ..store.store import ReadingKey, ReadingStore
from .driver import Driver
from .lanes import DonorPool
from .plan import PlannedRun, Prepared, fault_line
from .ray_actors import (
    CaptureActor,
    LanesActor,
    Load,
    Mistake,
    ReconstructActor,
    VerbalizeActor,
    packed,
    unpacked,
)
from .reading import ReadResult

T = TypeVar("T")

_LIGHT = 0.1
"""CPUs of the actor that looks up the vectors to inject."""
_DEATHS = 4
"""The run stops once this many workers have died at the same unit."""
_INSTALL = "pip install 'nla_eval[ray]'"


@dataclass(frozen=True)
class StageResources:
    """Resources of one stage."""

    workers: int = 1
    """Number of actors, each with its own weights."""
    cpus: float = 1.0
    """CPUs of each actor, and its number of threads."""
    gpus: float = 0.0
    """GPUs of each actor; with a fraction, actors share a GPU."""


@dataclass(frozen=True)
class RayResources:
    """Resources by stage, and the size of a unit."""

    capture: StageResources = field(default_factory=StageResources)
    verbalize: StageResources = field(default_factory=StageResources)
    reconstruct: StageResources = field(default_factory=StageResources)
    transcripts_per_unit: int = 8
    readings_per_unit: int = 256


@dataclass(frozen=True)
class RayWorkbench:
    """Weights, store and resources of a run on a cluster."""

    load: Load
    """Loads the weights. Pickled, and called once in each actor."""
    url: str
    """An existing store that every machine can reach: on an object store or in a shared folder."""
    stages: RayResources = field(default_factory=RayResources)
    provenance: Mapping[str, str] = field(default_factory=dict)


def parse_resources(text: str) -> RayResources:
    """Parse resources: "4" workers for every stage, or "verbalize=4,verbalize.gpus=1,reconstruct.gpus=0.25".

    Raises:
        InputError: A stage or field is unknown, or a value is not a number.
    """
    if text.isdigit() and int(text):
        every = StageResources(int(text))
        return RayResources(every, every, every)
    stages = RayResources()
    for part in text.split(","):
        name, _, value = part.partition("=")
        stage, _, what = name.strip().partition(".")
        known = [f.name for f in fields(RayResources) if isinstance(getattr(stages, f.name), StageResources)]
        what = what or "workers"
        if stage not in known or what not in {f.name for f in fields(StageResources)}:
            raise InputError(
                f"unknown '{name.strip()}' in --ray; expected STAGE=WORKERS, STAGE.cpus=N or STAGE.gpus=N, "
                f"with STAGE one of {', '.join(known)}"
            )
        try:
            number = int(value) if what == "workers" else float(value)
        except ValueError as err:
            raise InputError(f"'{part.strip()}' in --ray: '{value}' is not a number") from err
        if number < 0 or (what == "workers" and number < 1):
            raise InputError(f"'{part.strip()}' in --ray: expected at least {1 if what == 'workers' else 0}")
        stages = replace(stages, **{stage: replace(getattr(stages, stage), **{what: number})})
    return stages


def expect_lanes(lanes: Sequence[Lane]) -> None:
    """Check that the verbalizer reads every lane: actors have no other reader. Raises InputError."""
    other = next((lane for lane in lanes if not LANES[lane].verbalized), None)
    if other is not None:
        raise InputError(
            f"--ray does not read lane {other}; leave it out, then read it into the same store without --ray"
        )


def read_on_ray(
    run: PlannedRun, bench: RayWorkbench, progress: Progress = silent, *, retry_errors: bool = False
) -> ReadResult:
    """Make every planned reading that the store does not hold, on a Ray cluster.

    Capture finishes before drawing starts, because donors, moments and the shuffle reference need all activations.

    Args:
        run: The planned run.
        bench: Weights, store and resources.
        progress: Receives an event per unit.
        retry_errors: Read again the readings stored as ERROR.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: The verbalizer does not read a lane, the store keeps no activations, which the stages exchange
            through it, or a cluster of one machine is too small for the stages.
        StoreError: The store belongs to another plan.
        NlaEvalError: An actor could not load its weights or write to the store, or several workers died at one unit.
    """
    expect_lanes(run.plan.lanes)
    store = ReadingStore.open(bench.url)
    store.expect(run.identity)
    if run.identity.activations == "none":
        raise InputError("on Ray, activations travel through the store; keep them: --activations float32 or bfloat16")
    ray = _connected()
    _check_room(ray, bench.stages)
    present, provenance = store.keys(errors=not retry_errors), {**bench.provenance, "ray": ray.__version__}
    driver = Driver(run.plan, run.identity, store, present, provenance, left_out=len(run.duplicates))
    return _OnRay(ray, run, replace(bench, url=_everywhere(bench.url)), progress, driver).result()


class _OnRay:
    """One call of `read_on_ray`: forms units and sends them through the stages."""

    def __init__(self, ray: Any, run: PlannedRun, bench: RayWorkbench, progress: Progress, driver: Driver) -> None:
        self.ray, self.run, self.bench, self.progress, self.driver = ray, run, bench, progress, driver
        self.store = ReadingStore.open(bench.url)

    def result(self) -> ReadResult:
        driver = self.driver
        driver.enter(self.run.prepared)
        readable = self.run.readable(driver.present)
        planned = sum(len(self.run.keys(p)) for p in readable)
        pending = [slot.key for p in readable for slot in driver.pending(p)]
        if pending:
            lost = self._capture(readable)
            kept = [p for p in readable if p.digest not in lost]
            self._draw(kept, [key for key in pending if key[0] not in lost])
        driver.finish()
        stops = driver.stops
        return ReadResult(sum(stops.values()), planned - len(pending), dict(stops), dict(driver.levels))

    def _capture(self, readable: Sequence[Prepared]) -> set[str]:
        """Capture the activations that the store lacks. Returns the digests of transcripts that failed."""
        there = self.store.captured()
        missing = [p for p in readable if any(site.key not in there for site in p.sites)]
        stages, lost = self.bench.stages, set[str]()
        if not missing:
            return lost
        meter = Meter(self.progress, "capture", len(missing), "transcripts")
        data = self._units(_cut(missing, stages.transcripts_per_unit))
        data = self._mapped(data, CaptureActor, (self.bench.load,), stages.capture)
        for done in self._streamed(data):
            meter.advance(done.transcripts)
            lost.update(done.failed)
            self.driver.count({"error": len(done.failed)} if done.failed else {})
        return lost

    def _draw(self, kept: Sequence[Prepared], pending: Sequence[ReadingKey]) -> None:
        if not pending:
            return
        load, stages = self.bench.load, self.bench.stages
        there = self.store.captured()
        pool = DonorPool(site for p in kept for site in p.sites if site.key in there)
        self.driver.match(kept, partial(pool.match_levels, seed=self.run.plan.seed))
        sites = self.ray.put([site for p in kept for site in p.sites])
        meter = Meter(self.progress, "verbalize", len(pending), "readings")
        data = self._units(_cut(pending, stages.readings_per_unit))
        data = self._mapped(data, LanesActor, ([sites],), StageResources(cpus=_LIGHT))
        data = self._mapped(data, VerbalizeActor, (load,), stages.verbalize)
        data = self._mapped(data, ReconstructActor, (load,), stages.reconstruct)
        for stops in self._streamed(data):
            meter.advance(sum(stops.values()))
            self.driver.count(stops)

    def _units(self, units: list[Any]) -> Any:
        """A Ray data set with one unit per block, so that a task is one unit."""
        return self.ray.data.from_items([{"unit": packed(unit)} for unit in units], override_num_blocks=len(units))

    def _mapped(self, data: Any, actor: type, arguments: tuple[Any, ...], stage: StageResources) -> Any:
        return data.map_batches(
            actor,
            fn_constructor_args=(self.bench.url, *arguments),
            batch_size=1,
            batch_format="numpy",
            compute=self.ray.data.ActorPoolStrategy(size=stage.workers),
            num_cpus=stage.cpus,
            num_gpus=stage.gpus,
            max_task_retries=_DEATHS - 1,
        )

    def _streamed(self, data: Any) -> Iterator[Any]:
        """Yield the units of the last stage. Raises NlaEvalError for a user error in an actor."""
        try:
            for row in data.iter_rows():
                unit = unpacked(row["unit"])
                if isinstance(unit, Mistake):
                    raise NlaEvalError(unit.message)
                yield unit
        except self.ray.exceptions.RayActorError as err:
            raise NlaEvalError(
                f"{_DEATHS} workers died at the same unit ({fault_line(err)}); give each more memory, or run "
                "fewer per machine. Finished readings are in the store; run the same command to resume"
            ) from err


def _check_room(ray: Any, stages: RayResources) -> None:
    """Raise InputError if the actors do not fit: Ray would wait forever. A cluster of several machines is not checked,
    because it may still grow."""
    if len(ray.nodes()) > 1:
        return
    has = ray.cluster_resources()
    drawing = stages.verbalize, stages.reconstruct
    for name, what, extra in (("CPU", "cpus", _LIGHT), ("GPU", "gpus", 0.0)):
        together = sum(stage.workers * getattr(stage, what) for stage in drawing) + extra
        needed = max(together, stages.capture.workers * getattr(stages.capture, what))
        if needed > has.get(name, 0):
            raise InputError(
                f"--ray asks for {needed:g} {name}s at once, the cluster has {has.get(name, 0):g}; "
                f"ask for fewer workers, or for a part of one each, as in verbalize.{what}=0.5"
            )


def _cut(items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _everywhere(url: str) -> str:
    """Make a local path absolute, because actors have other working folders."""
    return url if "://" in url else os.path.abspath(url)


def _connected() -> Any:
    """Connect to the cluster in RAY_ADDRESS, or start one on this machine. Returns the `ray` module."""
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise MissingExtraError("reading on a cluster", "ray", _INSTALL) from err
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    return ray
