"""`nla-eval read`: finds transcripts by suite or file, and runs the pipeline over them into a store."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

from ..engines.base import Sampling
from ..errors import InputError
from ..plan import ReadingPlan, plan_run
from ..progress import Lines
from ..reading import Bench, ReadResult, kept, read
from ..readings import Lane
from ..runtime import RuntimeSettings, runtime_for
from ..sources import SOURCES, Skipped, SourceOptions
from ..store import ActivationStorage, ReadingStore
from ..suite import AnswersBy, Suite, get_suite, suite_names
from ..transcript import Arm, Transcript

_READERS = {".jsonl": "jsonl", ".eval": "inspect_log", ".json": "inspect_log"}


@dataclass(frozen=True)
class ReadRequest:
    """What the user asked for."""

    sources: tuple[str, ...]
    deployment: tuple[str, ...]
    out: str
    plan: ReadingPlan
    settings: RuntimeSettings
    arm: str = Arm.EVALUATION.value
    limit: int | None = None
    retry_errors: bool = False


def plan_of(
    policy: str, seed: int, draws: int, lanes: str, activations: str, sampling: tuple[float, int]
) -> ReadingPlan:
    """A plan from words; `sampling` is (temperature, max_new_tokens). Raises InputError."""
    names = [lane.strip() for lane in lanes.split(",")]
    unknown = [name for name in names if name not in set(Lane)]
    if unknown:
        raise InputError(f"unknown lane '{unknown[0]}'; known: {', '.join(Lane)}")
    ways = get_args(ActivationStorage)
    if activations not in ways:
        raise InputError(f"activations are '{activations}'; expected one of {', '.join(ways)}")
    temperature, max_new_tokens = sampling
    if temperature < 0 or max_new_tokens < 1:
        raise InputError(f"temperature {temperature:g} and cap {max_new_tokens}; expected at least 0 and at least 1")
    return ReadingPlan(
        policy=policy,
        seed=seed,
        draws=draws,
        lanes=tuple(Lane(name) for name in names),
        sampling=Sampling(temperature, max_new_tokens),
        activations=cast(ActivationStorage, activations),
    )


def run(request: ReadRequest) -> None:
    """Read everything, printing the plan before weights are loaded and what was made at the end."""
    progress = Lines(sys.stderr)
    transcripts = _transcripts(request)
    runtime = runtime_for(request.settings)
    store = ReadingStore.create(request.out, runtime.instrument.identity(request.plan))
    planned = plan_run(kept(transcripts, store), runtime.instrument, request.plan, progress)
    print(planned.describe())
    bench = Bench(lambda: runtime.engine, store, runtime.scorer, _provenance(request))
    try:
        result = read(planned, bench, progress, retry_errors=request.retry_errors)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(_summary(result, request.out))


def _transcripts(request: ReadRequest) -> Iterator[Transcript]:
    """Checks every name at once, so that a typing mistake costs no reading; transcripts then come lazily."""
    _arm(request.arm)
    named = [(name, request.arm) for name in request.sources]
    named += [(name, Arm.DEPLOYMENT.value) for name in request.deployment]
    found = [_found(name, arm, request) for name, arm in named]
    return (transcript for source in found for transcript in source)


def _found(name: str, arm: str, request: ReadRequest) -> Iterable[Transcript]:
    path = Path(name)
    if path.exists():
        reader = _READERS.get(path.suffix, "inspect_log" if path.is_dir() else "")
        if not reader:
            raise InputError(f"'{path.name}' has an unknown ending; expected {', '.join(_READERS)} or a folder of logs")
        suite = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "imported"
        return _of_file(reader, path, SourceOptions(suite=suite, arm=_arm(arm), limit=request.limit))
    known = suite_names()
    if name not in known:
        raise InputError(f"'{name}' is neither a file nor a suite; known suites: {', '.join(known) or 'none'}")
    return _of_suite(get_suite(name), request)


def _of_file(reader: str, path: Path, options: SourceOptions) -> Iterator[Transcript]:
    skipped: list[Skipped] = []
    for item in SOURCES.get(reader)(path, options):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            yield item
    if skipped:
        print(f"{path.name}: {len(skipped)} records left out, first: {skipped[0]}", file=sys.stderr)


def _of_suite(suite: Suite, request: ReadRequest) -> Iterator[Transcript]:
    if suite.card.answers_by is AnswersBy.TARGET:
        yield from _answered(suite, request)
    else:
        yield from islice(suite.load(), request.limit)


def _answered(suite: Suite, request: ReadRequest) -> list[Transcript]:
    import anyio
    from inspect_ai.model import get_model

    from ..on_policy import AnswerSettings, complete

    settings = request.settings
    args: dict[str, Any] = {
        "pack": settings.pack,
        "dtype": settings.dtype,
        "threads": settings.threads,
        "engine": settings.engine,
    }
    model = get_model(f"nla/{settings.target}", **args)
    write = partial(complete, limit=request.limit, progress=Lines(sys.stderr))
    return anyio.run(write, suite, model, AnswerSettings())


def _arm(name: str) -> Arm:
    if name not in set(Arm):
        raise InputError(f"arm is '{name}'; expected one of {', '.join(Arm)}")
    return Arm(name)


def _provenance(request: ReadRequest) -> dict[str, str]:
    return {
        "command": shlex.join(["nla-eval", *sys.argv[1:]]),
        "dtype": request.settings.dtype,
        "engine": request.settings.engine,
        "target": request.settings.target,
    }


def _summary(result: ReadResult, out: str) -> str:
    stops = ", ".join(f"{count} {stop}" for stop, count in sorted(result.stops.items())) or "nothing to do"
    levels = ", ".join(f"{count} {level}" for level, count in sorted(result.donor_levels.items()))
    donors = f"; donors matched: {levels}" if levels else ""
    return f"{stops} ({result.present} were there before){donors}. Next: nla-eval report {shlex.quote(out)}"
