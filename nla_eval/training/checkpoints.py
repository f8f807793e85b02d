"""Measures a run's checkpoints over training, all on the same held-out rows, and plots them.

In: a run folder. Out: `records/<step>.json` in it, one for the warm start and one for every snapshot of the joint
stage, and `training.svg`. Checkpoints that have a record are not measured again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..errors import InputError
from ..measure.curves import over_training, save
from ..measure.evaluate import measure, subject_of
from ..measure.record import Record, read_record, write_record
from ..measure.section import Section
from .joint.state import core_hours, snapshots
from .pack.export import Weights, engine_of, held_out, warm_start_hours, write_checkpoint
from .run import Run

RECORDS = "records"
CURVE = "training.svg"
SECTIONS = (Section.TASKS, Section.PAIRS)


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a run at one step of its joint stage; step 0 is the warm start."""

    step: int
    weights: Weights
    core_hours: float | None
    """Spent by AR, AV and the joint stage up to this step; None if a log is missing."""


def checkpoints(run: Run) -> list[Checkpoint]:
    """The run's checkpoints, by step.

    Raises:
        InputError: AV or AR have not been trained yet.
    """
    begun = Weights(run.warm_start("av"), run.warm_start("ar"))
    if missing := next((path for path in (begun.av, begun.ar) if not path.is_file()), None):
        raise InputError(f"run folder '{run.folder.name}' has no {missing.name} yet; run its stages first")
    spent = warm_start_hours(run.folder)
    before = None if spent["ar"] is None or spent["av"] is None else sum(hours or 0.0 for hours in spent.values())
    found = [Checkpoint(0, begun, before)]
    for folder in snapshots(run.folder):
        step = int(folder.name)
        joint = core_hours(run.folder, step)
        hours = None if before is None or joint is None else round(before + joint, 2)
        found.append(Checkpoint(step, Weights(folder / "av.safetensors", folder / "ar.safetensors"), hours))
    return found


def measured(run: Run, rows: int, sections: Sequence[Section] = SECTIONS) -> Iterator[Record]:
    """The record of each checkpoint. Missing records are measured, and each is written at once.

    Args:
        run: A run whose warm start is done.
        rows: Maximum number of held-out rows. Rows that training evaluated are not used.
        sections: Sections to measure in addition to the round trip and the ablation.
    """
    corpus = pl.read_parquet(run.folder / "corpus.parquet")
    held = held_out(run, corpus, rows=rows)
    for found in checkpoints(run):
        path = run.folder / RECORDS / f"{found.step:05d}.json"
        record = _kept(path, found, held.digest)
        if record is None:
            with tempfile.TemporaryDirectory(dir=run.folder) as folder:
                engine = engine_of(run, write_checkpoint(run, found.weights, Path(folder) / "checkpoint"))
                record = measure(subject_of(engine, found.step, found.core_hours), held, sections).record
            path.parent.mkdir(exist_ok=True)
            write_record(record, path)
        yield record


def plotted(run: Run, records: Sequence[Record]) -> Path:
    """Plot the records over core-hours to `training.svg` in the run folder. Returns its path."""
    out = run.folder / CURVE
    save(over_training(records), out)
    return out


def _kept(path: Path, found: Checkpoint, digest: str) -> Record | None:
    """The record at `path`, if it was made from these weights and rows."""
    made_from = (found.weights.av, found.weights.ar)
    if not path.is_file() or path.stat().st_mtime < max(weights.stat().st_mtime for weights in made_from):
        return None
    record = read_record(path)
    return record if record.held_out.digest == digest else None
