"""`nla-eval train`: runs the unfinished stages of a training configuration, or shows the state of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from ..errors import InputError
from ..models.pack import load_pack
from ..models.target import load_target
from ..training.config import TrainConfig, load_config

if TYPE_CHECKING:
    from ..training.run import Run

RUNS = Path("runs")


@dataclass(frozen=True)
class TrainRequest:
    """What to train."""

    config: Path
    run_folder: Path | None = None
    """None: runs/<name> in the current folder."""
    stages: Sequence[str] | None = None
    writer: str | None = None
    """A writer's name, an Inspect model, or a file of explanations; None for the configuration's writer."""
    from_pack: str | None = None
    """Start from the AV and AR of this pack, unchanged."""
    plan_only: bool = False
    measure: int | None = None
    """Do not train; measure the run's checkpoints on this many held-out rows."""


def run(request: TrainRequest) -> None:
    """Show the plan, then run it. Raises NlaEvalError for a user error."""
    config = configured(load_config(request.config), request)
    load_target(config.target)
    if config.start_from is not None:
        load_pack(config.start_from)
    if request.measure is not None and request.measure < 2:
        raise InputError(f"--measure {request.measure}; expected at least 2 held-out rows")
    from ..training.check import check
    from ..training.models.group import Group
    from ..training.run import Run
    from ..training.stages import run_stages

    folder = request.run_folder or RUNS / config.name
    training = Run(config, folder)
    if Group.joined().rank == 0:
        show(training)
    if request.plan_only:
        return
    if request.measure is not None:
        measure(training, request.measure)
    else:
        check(training)
        run_stages(training, request.stages)


def measure(training: Run, rows: int) -> None:
    """Measure every checkpoint on the same held-out rows, print one line for each, and plot them."""
    from ..training.checkpoints import measured, plotted

    records = []
    for record in measured(training, rows):
        records.append(record)
        shown = ", ".join(f"{name} {figure.value:.3f}" for name, figure in record.figures.items())
        print(f"step {record.step}, {record.core_hours} core-hours: {shown}", flush=True)
    print(plotted(training, records) if len(records) > 1 else "one checkpoint: nothing to plot yet")


def configured(config: TrainConfig, request: TrainRequest) -> TrainConfig:
    """`config` with the settings that the command line overrides."""
    changes: dict[str, Any] = {}
    if request.writer is not None:
        changes["writer"] = {**config.writer.model_dump(), **_writer(request.writer)}
    if request.from_pack is not None:
        kept = {name: {**getattr(config, name).model_dump(), "samples": 0} for name in ("ar", "av", "ar_on_samples")}
        changes.update(start_from=request.from_pack, **kept)
    try:
        return TrainConfig.model_validate({**config.model_dump(), **changes})
    except ValidationError as err:
        raise InputError(f"training config {request.config.name}: {err.errors()[0]['msg']}") from err


def _writer(text: str) -> dict[str, str]:
    """The writer that `text` names: a registered writer, a file of explanations, or an Inspect model."""
    from ..training.writers import WRITERS

    if text in WRITERS:
        return {"name": text}
    if Path(text).suffix in (".parquet", ".jsonl"):
        return {"name": "file", "path": text}
    if "/" in text:
        return {"name": "inspect_model", "model": text}
    raise InputError(
        f"unknown writer '{text}'; expected a model (provider/name), a .parquet or .jsonl file, or {', '.join(WRITERS)}"
    )


def show(training: Run) -> None:
    """Print the state of each stage and the core-hours still to spend."""
    from ..training.estimate import Take, takes
    from ..training.stages import Ledger, State

    table = Table("stage", "state", "takes")
    estimates = dict(takes(training.config, lambda: training.target))
    standings = Ledger(training).standings()
    state = {standing.stage.name: standing.state for standing in standings}
    if state["activations"] is State.DONE and state["explanations"] is not State.DONE:
        estimates["explanations"] = Take(training.writer().cost(list(training.requests())), 0.0)
    hours, unmeasured = 0.0, []
    for standing in standings:
        name, pending = standing.stage.name, standing.state not in (State.DONE, State.OFF)
        take = estimates.get(name)
        table.add_row(name, f"{standing.state}: {standing.why}" if standing.why else str(standing.state),
                      str(take) if take and pending else "")  # fmt: skip
        if pending and take:
            hours += take.core_hours or 0.0
            unmeasured += [name] if take.core_hours is None else []
    console = Console()
    console.print(f"{training.config.name}: target {training.config.target}, block {training.config.layer}, run folder "
                  f"{training.folder}")  # fmt: skip
    console.print(table)
    left = f"{hours:.1f} core-hours to go, at the rates in docs/log.md"
    console.print(left + (f"; not measured: {', '.join(unmeasured)}" if unmeasured else ""))
