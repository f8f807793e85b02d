"""Runs the studies: many replications of each, a fixed seed, on all cores. In: pools. Out: lines by section.

A replication depends on the seed, its study and its number alone, so the number of processes changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from ..progress import Meter, Progress, silent
from ..stats.interval import Resampling
from . import certificates, designs, grid, naive, nulls, settings
from .findings import Finding, Line, Study, summarise
from .pools import Pools

REPLICATIONS = 2000
BLOCK = 50
"""Replications that a process runs at a time."""
_MADE: Mapping[str, Callable[[Pools], list[Study]]] = {
    "settings": settings.studies,
    "designs": designs.studies,
    "nulls": nulls.studies,
    "certificates": certificates.studies,
    "naive": naive.studies,
}
SECTIONS = (*_MADE, "grid")


@dataclass(frozen=True)
class Plan:
    """How often, and what."""

    replications: int = REPLICATIONS
    seed: int = 0
    sections: tuple[str, ...] = SECTIONS
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    how: Resampling = field(default_factory=Resampling)
    """As reports resample."""


Results = Mapping[str, Sequence[Line]]
"""Lines by section, in the order of the studies."""


def studies_of(section: str, pools: Pools) -> list[Study]:
    """The studies of one section."""
    return grid.studies() if section == "grid" else _MADE[section](pools)


def run(pools: Pools, plan: Plan, progress: Progress = silent) -> dict[str, list[Line]]:
    """Run the sections of a plan."""
    studies = {section: studies_of(section, pools) for section in plan.sections}
    starts = range(0, plan.replications, BLOCK)
    jobs = [(section, i, start) for section, some in studies.items() for i in range(len(some)) for start in starts]
    found: dict[tuple[str, int], list[Mapping[str, Finding]]] = {}
    meter = Meter(progress, "simulate", len(jobs) * BLOCK, "replications of a world")
    if plan.processes == 1:
        _prepare(pools, plan)
        for job in jobs:
            found.setdefault(job[:2], []).extend(_block(job))
            meter.advance(BLOCK)
    else:
        with ProcessPoolExecutor(plan.processes, initializer=_prepare, initargs=(pools, plan)) as workers:
            for job, block in zip(jobs, workers.map(_block, jobs), strict=True):
                found.setdefault(job[:2], []).extend(block)
                meter.advance(BLOCK)
    return {
        section: [line for i, study in enumerate(some) for line in summarise(study, found[section, i])]
        for section, some in studies.items()
    }


def replicate(study: Study, numbers: Sequence[int], seed: int, how: Resampling) -> list[Mapping[str, Finding]]:
    """The replications of these numbers."""
    key = crc32(study.key.encode())
    return [study.trial(np.random.default_rng([seed, key, number]), how) for number in numbers]


_here: dict[str, tuple[dict[str, list[Study]], Plan]] = {}
"""What a process prepared once; studies hold functions, which cannot be sent to it."""


def _prepare(pools: Pools, plan: Plan) -> None:
    _here["work"] = ({section: studies_of(section, pools) for section in plan.sections}, plan)


def _block(job: tuple[str, int, int]) -> list[Mapping[str, Finding]]:
    section, index, start = job
    studies, plan = _here["work"]
    numbers = range(start, min(start + BLOCK, plan.replications))
    return replicate(studies[section][index], numbers, plan.seed, plan.how)
