"""What a run's checkpoints are worth over training: each is measured on the same held-out rows, and plotted.

In: a run folder. Out: `records/<step>.json` in it, one for the warm start and one for every snapshot of the joint
stage, and `training.svg`. What is measured already is not measured again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from ..engines.config import EngineConfig
from ..engines.hf import TransformersEngine
from ..errors import InputError
from .curves import over_training, save
from .evaluate import Section, measure, subject_of
from .export import Weights, cpu_hours, held_out, write_checkpoint
from .joint_state import core_hours
from .record import Record, read_record, write_record
from .run import Run

RECORDS = "records"
CURVE = "training.svg"
SECTIONS = (Section.TASKS, Section.PAIRS)
_MADE = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a run at one step of its joint stage; step 0 is the warm start."""

    step: int
    weights: Weights
    core_hours: float | None
    """Spent by AR, AV and the joint stage until then; None where a log does not say."""


def checkpoints(run: Run) -> list[Checkpoint]:
    """The run's checkpoints, by step.

    Raises:
        InputError: AV or AR have not been trained yet.
    """
    begun = Weights(run.warm_start("av"), run.warm_start("ar"))
    if missing := next((path for path in (begun.av, begun.ar) if not path.is_file()), None):
        raise InputError(f"run folder '{run.folder.name}' has no {missing.name} yet; run its stages first")
    spent = [cpu_hours(run.folder / f"{name}.jsonl") for name in ("ar", "av", "ar_on_samples")]
    before = None if any(hours is None for hours in spent[:2]) else sum(hours or 0.0 for hours in spent)
    found = [Checkpoint(0, begun, before)]
    for folder in sorted((run.folder / "joint").glob("[0-9]*")):
        step = int(folder.name)
        joint = core_hours(run.folder, step)
        hours = None if before is None or joint is None else round(before + joint, 2)
        found.append(Checkpoint(step, Weights(folder / "av.safetensors", folder / "ar.safetensors"), hours))
    return found


def measured(run: Run, rows: int, sections: Sequence[Section] = SECTIONS) -> Iterator[Record]:
    """The record of each checkpoint, measured where it has not been; each is kept as soon as it is there.

    Args:
        run: Its warm start is done.
        rows: At most so many held-out rows, none of them looked at during training.
        sections: What is measured beside the round trip and the ablation.
    """
    corpus = pl.read_parquet(run.folder / "corpus.parquet")
    held = held_out(run, corpus, rows=rows)
    hardware = run.config.hardware
    how = EngineConfig(dtype=getattr(torch, hardware.dtype), device=hardware.device)
    for found in checkpoints(run):
        kept = run.folder / RECORDS / f"{found.step:05d}.json"
        if _holds(kept, found, held.digest):
            yield read_record(kept)
            continue
        pack = write_checkpoint(run, found.weights, run.folder / _MADE)
        engine = TransformersEngine(run.target, pack, how)
        record = measure(subject_of(engine, found.step, found.core_hours), held, sections).record
        kept.parent.mkdir(exist_ok=True)
        write_record(record, kept)
        yield record


def plotted(run: Run, records: Sequence[Record]) -> Path:
    """The records over core-hours, as `training.svg` in the run folder."""
    out = run.folder / CURVE
    save(over_training(records), out)
    return out


def _holds(kept: Path, found: Checkpoint, digest: str) -> bool:
    """Whether a record was made from these weights and rows."""
    made_from = (found.weights.av, found.weights.ar)
    if not kept.is_file() or kept.stat().st_mtime < max(path.stat().st_mtime for path in made_from):
        return False
    return read_record(kept).held_out.digest == digest
