"""`nla-eval demo`: the whole measurement on both shipped suites, offline, from prompts to one report.

1. The instrument check: the positive control is read from the organism, its shams and the plain target.
2. The pipeline reads both arms into one store. Each arm can then lend donors to the other, and an interrupted run
   resumes.
3. Inspect runs both tasks over that store and scores them.
4. The report is made from their logs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines.kinds import RuntimeSettings
from ..errors import NlaEvalError
from ..pipeline.plan import ReadingPlan
from ..pipeline.runtime import release
from ..progress import peak_bytes
from .compared import run_report as report
from .control import ControlRequest, control_targets, read_controls
from .next_step import next_step
from .read import ReadRequest
from .read import run as read
from .report import ReportRequest

if TYPE_CHECKING:
    from ..models.pack import Pack

SUITES = ("real_usage", "blackmail")
_CHECKING = "instrument check: a planted, unsaid state, read with its cue and without it"
_UNCHECKED = "no instrument check: pack {pack} has no setting adapter, or no organism of the target ships"


@dataclass(frozen=True)
class DemoRequest:
    """The settings of one demo run."""

    out: Path
    settings: RuntimeSettings
    plan: ReadingPlan
    limit: int | None = None
    plan_only: bool = False
    """Print the plan of the readings and its cost, and stop before weights are loaded."""


def run(request: DemoRequest) -> None:
    """Read, evaluate, report. Prints each stage with its time, the table of rates and the path of the report; with
    `plan_only` the plan of the readings."""
    from ..models.pack import default_pack, load_pack

    started = time.monotonic()
    pack = load_pack(request.settings.pack) if request.settings.pack else default_pack()
    store = request.out / "store"
    if request.plan_only:
        read(replace(_reading(request, store), plan_only=True))
        return
    checks = _checks(request, pack)
    _say(started, f"1/4 {_CHECKING if checks else _UNCHECKED.format(pack=pack.name)}")
    controls = _check(request, started) if checks else []
    _say(started, f"2/4 reading {' and '.join(SUITES)} with {pack.id} (the target first writes missing answers)")
    read(_reading(request, store))
    release(request.settings)
    _say(started, "3/4 inspect eval: the classifier judges the readings in the store")
    logs = request.out / "logs"
    _evaluate(request, store, logs)
    _say(started, "4/4 tallying and writing the report")
    out, own = str(request.out / "report.html"), request.settings.pack
    report(ReportRequest((str(logs),), out, pack=own, control=tuple(controls)))
    see = next_step("inspect", "view", "--log-dir", str(logs))
    _say(started, f"done, peak memory {peak_bytes() / 2**30:.1f} GiB. Every explanation: {see}")


def _checks(request: DemoRequest, pack: Pack) -> bool:
    """Whether there is a column that reads a planted state, and a planted state to read."""
    return pack.setting is not None and bool(control_targets(request.settings.target))


def _check(request: DemoRequest, started: float) -> list[str]:
    # Two transcripts of a request, and two suites: as many of the check as of both.
    most = None if request.limit is None else 2 * request.limit
    place = ControlRequest(request.out / "control", request.settings, most, request.plan.seed)
    return read_controls(place, lambda line: _say(started, line))


def _reading(request: DemoRequest, store: Path) -> ReadRequest:
    return ReadRequest(SUITES, (), str(store), request.plan, request.settings, limit=request.limit)


def _evaluate(request: DemoRequest, store: Path, logs: Path) -> None:
    from inspect_ai import eval as inspect_eval

    settings = request.settings
    for old in logs.glob("*.eval"):
        old.unlink()
    results = inspect_eval(
        [f"nla_eval/{suite}" for suite in SUITES],
        model=f"nla/{settings.target}",
        model_args=settings.model_args(),
        task_args={**request.plan.plain(), "store": str(store.resolve())},
        limit=request.limit,
        log_dir=str(logs),
        display="none",
    )
    failed = [log for log in results if log.status != "success"]
    if failed:
        reason = failed[0].error.message if failed[0].error else failed[0].status
        raise NlaEvalError(f"task {failed[0].eval.task} ended with: {reason}; its log is in {logs}")


def _say(started: float, text: str) -> None:
    print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True)
