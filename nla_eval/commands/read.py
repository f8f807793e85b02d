"""`nla-eval read`: finds transcripts by suite or file and reads them into a store, or prints the plan and its cost."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..cards.choices import ReadingChoices
from ..dataset.choices import source_options
from ..dataset.matching import Measure, match
from ..engines.kinds import RuntimeSettings
from ..errors import InputError
from ..models.dtypes import dtype_name, torch_dtype
from ..models.target import with_places
from ..pipeline.cost import Setting, bytes_line, expected, plan_table, remember, remembered, work_of
from ..pipeline.plan import NothingToReadError, PlannedRun, ReadingPlan, differences, plan_run, with_setting
from ..pipeline.presets import PRESETS, preset_lines
from ..pipeline.readers import readers_for
from ..pipeline.reading import ReadResult, Scores, Workbench, read_in_process
from ..pipeline.runtime import Runtime, runtime_for
from ..pipeline.stopping import Stopped, stopping
from ..printable import one_line
from ..progress import Lines, Progress
from ..provenance import command
from ..readings import LANES, Lane
from ..sources import Skipped
from ..sources import read as read_source
from ..sources.hub import SCHEME, HubPlace, expect_hub
from ..store.conversations import kept
from ..store.rows import Fact
from ..store.store import ReadingStore
from ..suite import AnswersBy, Needs, Suite, get_suite, suite_names, suite_of
from ..transcript import Arm, Transcript, arm_of
from .lane_advice import with_donors
from .next_step import next_step

if TYPE_CHECKING:
    from ..pipeline.ray import RayResources

_SHOWN = 8
"""Number of unread keys that a line names."""


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
    scores: Scores = Scores.NEW
    plan_only: bool = False
    """Print the plan and its cost, and stop before weights are loaded."""
    match: tuple[Measure, ...] = ()
    """Read only deployment transcripts that are matched to the evaluation arm in these measures."""
    ray: str | None = None
    """Workers and resources by stage on a Ray cluster, in the syntax of `pipeline.ray.parse_resources`."""
    transcripts: tuple[Transcript, ...] = ()
    """Transcripts that a Python caller has already loaded."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Further facts for the manifest."""
    choices: ReadingChoices = field(default_factory=ReadingChoices)
    """How files, folders and URLs (sources that are not suites) are read."""


def scores_of(name: str) -> Scores:
    """The `Scores` of that name. Raises InputError for an unknown name."""
    if name not in set(Scores):
        raise InputError(f"scores are '{name}'; expected one of {', '.join(Scores)}")
    return Scores(name)


def run(request: ReadRequest) -> None:
    """Read everything. Prints the plan before weights are loaded, and a summary at the end."""
    progress = Lines(sys.stderr)
    if request.plan_only:
        _print_plan(request)
        return
    try:
        with stopping():
            result = read_into(request, progress, print)
    except KeyboardInterrupt as err:
        stopped = err if isinstance(err, Stopped) else Stopped()
        print(f"\nstopped; run the same command again to resume: {command()}", file=sys.stderr)
        raise SystemExit(stopped.exit_code) from None
    print(_summary(result, request.out))
    if result.absent:
        print(f"To read {_named(result.absent)} too: {with_donors(command())}")


def read_into(request: ReadRequest, progress: Progress, say: Callable[[str], None]) -> ReadResult:
    """Read everything into the store `request.out`.

    Args:
        request: What to read; `plan_only` is ignored.
        progress: Receives the progress of each stage.
        say: Receives the plan and its cost, before weights are loaded.
    """
    facts: list[Fact] = []
    transcripts = _transcripts(request, facts, {})
    stages = _stages(request)
    runtime = runtime_for(weights_for(request.plan, request.settings))
    request = replace(request, plan=_plan(request, runtime))
    store = ReadingStore.create(request.out, runtime.instrument.identity(request.plan))
    planned = plan_run(kept(transcripts, store), runtime.instrument, request.plan, progress)
    store.append_facts(facts)
    differs = differences(planned, runtime.instrument)
    for line in (*preset_lines(PRESETS[request.plan.preset], differs), planned.describe()):
        say(line)
    request = replace(request, provenance={**request.provenance, "preset_deviations": "; ".join(differs)})
    if planned.absent:
        say(_absence(planned.absent))
    runtime.drop_generator()
    setting = _setting(runtime)
    work = work_of(planned, store, retry_errors=request.retry_errors)
    if work.readings:
        say(f"time: {expected(work, remembered(setting))}\nstore: {bytes_line(planned, work)}")
    if stages is not None:
        return replace(_on_ray(request, planned, stages, progress), absent=planned.absent)
    readers = readers_for(runtime, planned.plan)
    bench = Workbench(lambda: runtime.engine, store, runtime.scorer, _provenance(request, planned), readers)
    result = read_in_process(planned, bench, progress, retry_errors=request.retry_errors, scores=request.scores)
    if request.scores is not Scores.NONE:
        remember(setting, result.spent)
    return replace(result, absent=planned.absent)


def weights_for(plan: ReadingPlan, settings: RuntimeSettings) -> RuntimeSettings:
    """The settings of the weights that `plan` needs: without a lane to verbalize, activations are enough."""
    return settings if any(LANES[lane].verbalized for lane in plan.lanes) else replace(settings, captures_only=True)


def _plan(request: ReadRequest, runtime: Runtime) -> ReadingPlan:
    """The plan, with the setting lane where the pack reads it by default. Actors of Ray have no reader of it."""
    return request.plan if request.ray is not None else with_setting(request.plan, runtime.instrument)


def _stages(request: ReadRequest) -> RayResources | None:
    """The Ray resources of each stage; None to work in this process."""
    if request.ray is None:
        return None
    from ..pipeline.ray import expect_lanes, parse_resources

    if request.scores is not Scores.NEW:
        raise InputError(
            f"--scores {request.scores} does not work with --ray, which scores new readings; leave --ray out"
        )
    expect_lanes(request.plan.lanes)
    return parse_resources(request.ray)


def _on_ray(request: ReadRequest, planned: PlannedRun, stages: RayResources, progress: Progress) -> ReadResult:
    from ..pipeline.ray import RayWorkbench, read_on_ray
    from ..pipeline.ray_actors import weights_of

    settings = request.settings
    pack = None if settings.pack is None else _everywhere(settings.pack)
    load = partial(weights_of, replace(settings, target=with_places(settings.target, _everywhere), pack=pack))
    bench = RayWorkbench(load, request.out, stages, _provenance(request, planned))
    return read_on_ray(planned, bench, progress, retry_errors=request.retry_errors)


def _everywhere(name: str) -> str:
    """A folder as an absolute path, because each actor has its own working folder."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def _print_plan(request: ReadRequest) -> None:
    unwritten: dict[str, int] = {}
    transcripts, runtime = _transcripts(request, [], unwritten), runtime_for(request.settings)
    request = replace(request, plan=_plan(request, runtime))
    _stages(request)
    store = ReadingStore.find(request.out)
    if store is not None:
        store.expect(runtime.instrument.identity(request.plan))
    try:
        planned = plan_run(transcripts, runtime.instrument, request.plan, Lines(sys.stderr))
    except NothingToReadError:
        if not unwritten:
            raise
        waiting = ", ".join(f"'{name}' ({count} prompts)" for name, count in unwritten.items())
        raise InputError(
            f"nothing to plan yet: the target still has to write the answers of {waiting}; "
            "the same command without --plan writes and reads them"
        ) from None
    for line in preset_lines(PRESETS[request.plan.preset], differences(planned, runtime.instrument)):
        print(line)
    work = work_of(planned, store, retry_errors=request.retry_errors)
    print(plan_table(planned, work, remembered(_setting(runtime))))
    if planned.absent and unwritten:
        print(f"{_named(planned.absent)}: not in this plan, because answers are still to be written")
    elif planned.absent:
        print(_absence(planned.absent))
        print(f"To read {_named(planned.absent)} too: {with_donors(command())}")


def _setting(runtime: Runtime) -> Setting:
    import torch

    settings = runtime.settings
    return Setting(
        target=runtime.target.hash,
        pack=runtime.pack.id,
        engine=settings.engine,
        dtype=dtype_name(torch_dtype(settings.dtype)),
        threads=settings.threads or torch.get_num_threads(),
    )


def _transcripts(
    request: ReadRequest, facts: list[Fact], unwritten: dict[str, int] | None = None
) -> Iterator[Transcript]:
    """All transcripts, lazily. Every name is checked first, so that a typing mistake shows before any reading.

    Args:
        request: What the user asked for.
        facts: Facts about whole suites are appended here; those of a matched arm when its first transcript is taken.
        unwritten: The number of answers that the target has not written yet is added here, by suite. A plan leaves
            them out.
    """
    unwritten = {} if unwritten is None else unwritten
    arm_of(request.arm)
    named = [(name, request.arm) for name in request.sources]
    named += [(name, Arm.DEPLOYMENT.value) for name in request.deployment]
    found = [(_suite(name), name, arm) for name, arm in named]
    cards = [suite.card for suite, _, _ in found if suite]
    facts += [Fact(about="design", suite=c.name, fact=c.design.model_dump_json()) for c in cards if c.design]
    if request.match:
        return _matched(found, request, facts, unwritten)
    sources = [
        _of_suite(suite, request, unwritten) if suite else _of_place(name, arm, request) for suite, name, arm in found
    ]
    return chain(request.transcripts, *sources)


def expect_sources(names: Sequence[str], arm: str) -> None:
    """Check every name, and the hub if a name needs it. Raises InputError before anything slow is imported."""
    arm_of(arm)
    for name in names:
        suite = _suite(name)
        if suite is not None and suite.card.needs is Needs.HUB:
            expect_hub(f"suite '{name}'")
        elif suite is not None and suite.card.needs is Needs.PATH:
            next(suite.load(), None)  # raises, with the way to give it a file
        elif suite is None and name.startswith(SCHEME):
            HubPlace.parse(name)
            expect_hub(f"'{name}'")


def expect_folder(out: str) -> None:
    """Check that a folder can stand at `out`. Raises InputError if a file is in the way."""
    places = [] if "://" in out else [Path(out), *Path(out).parents]
    if found := next((place for place in places if place.exists() and not place.is_dir()), None):
        raise InputError(f"--out '{out}': '{found}' is a file; give a folder")


def _suite(name: str) -> Suite | None:
    """The suite of that name or card; None for a file, folder or URL. Raises InputError for anything else."""
    path = Path(name)
    if path.suffix == ".yaml" and path.is_file():
        return suite_of(path)
    if path.exists() or "://" in name:
        return None
    known = suite_names()
    if name not in known:
        raise InputError(
            f"'{name}' is neither a file nor a suite; give a path, or one of the suites {', '.join(known) or '(none)'}"
        )
    return get_suite(name)


def _matched(
    found: Sequence[tuple[Suite | None, str, str]],
    request: ReadRequest,
    facts: list[Fact],
    unwritten: dict[str, int],
) -> Iterator[Transcript]:
    """All transcripts of the other arms, and the deployment transcripts matched to the evaluation arm.

    Prompts are matched before the target answers them, so that the target answers only matched ones. The whole
    deployment arm is the pool; the limit applies to the other arms.
    """
    whole = replace(request, limit=None)
    sources = [list(suite.load() if suite else _of_place(name, arm, whole)) for suite, name, arm in found]
    found, sources = [*found, (None, "", request.arm)], [*sources, list(request.transcripts)]
    others = [list(islice((t for t in rows if t.arm is not Arm.DEPLOYMENT), request.limit)) for rows in sources]
    wanted = [t for rows in others for t in rows if t.arm is Arm.EVALUATION]
    made = match(wanted, [t for rows in sources for t in rows], request.match, request.plan.seed)
    print(made.arm.describe())
    facts.append(Fact(about="matched", suite=",".join(made.arm.pool), fact=made.arm.model_dump_json()))
    drawn = {t.digest for t in made.transcripts}
    for (suite, _, _), rows, others_of in zip(found, sources, others, strict=True):
        chosen = others_of + [t for t in rows if t.arm is Arm.DEPLOYMENT and t.digest in drawn]
        if suite and chosen:
            yield from _of_suite(replace(suite, load=partial(iter, chosen)), whole, unwritten)
        else:
            yield from chosen


def _of_place(name: str, arm: str, request: ReadRequest) -> Iterator[Transcript]:
    suite = re.sub(r"[^a-z0-9]+", "_", Path(name).stem.lower()).strip("_") or "imported"
    options = replace(source_options(request.choices, suite, arm_of(arm)), limit=request.limit)
    skipped: list[Skipped] = []
    roles: set[str] = set()
    for item in read_source(name, options):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            roles.add(item.metadata.get("model_role", ""))
            yield item
    if found := sorted(roles - {""}):
        print(f"{options.suite}: model role read: {', '.join(map(one_line, found))}", file=sys.stderr)
    if skipped:
        first = next((row for row in skipped if not row.foreign), skipped[0])
        print(f"{options.suite}: {len(skipped)} records left out, first: {first}", file=sys.stderr)
    if options.notes.unread:
        print(f"{options.suite}: keys not read: {options.notes.unread_line(_SHOWN)}", file=sys.stderr)


def _of_suite(suite: Suite, request: ReadRequest, unwritten: dict[str, int]) -> Iterator[Transcript]:
    if suite.card.answers_by is AnswersBy.TARGET:
        yield from _answered_before(suite, request, unwritten) if request.plan_only else _answered(suite, request)
    else:
        yield from islice(suite.load(), request.limit)


def _answered(suite: Suite, request: ReadRequest) -> list[Transcript]:
    import anyio
    from inspect_ai.model import get_model

    from ..inspect_ext.on_policy import AnswerSettings, complete

    settings = request.settings
    model = get_model(f"nla/{settings.target}", **settings.model_args())
    write = partial(complete, limit=request.limit, progress=Lines(sys.stderr))
    return anyio.run(write, suite, model, AnswerSettings())


def _answered_before(suite: Suite, request: ReadRequest, unwritten: dict[str, int]) -> Iterator[Transcript]:
    """Transcripts that the target has already answered. Writing the others takes weights, and a plan loads none."""
    from ..inspect_ext.on_policy import AnswerSettings, answer_key, book_for, with_answer

    book, target_hash, missing = book_for(suite), runtime_for(request.settings).target.hash, 0
    for transcript in islice(suite.load(), request.limit):
        answer = book.get(answer_key(transcript.digest, target_hash, AnswerSettings()))
        if answer is None:
            missing += 1
        else:
            yield with_answer(transcript, answer)
    if missing:
        unwritten[suite.name] = missing
        print(f"{suite.name}: not in this plan: {missing} answers that the target has not written yet", file=sys.stderr)


def _provenance(request: ReadRequest, planned: PlannedRun) -> dict[str, str]:
    absent = {"lanes_absent": ",".join(planned.absent)} if planned.absent else {}
    return {**request.settings.facts(), "command": command(), **absent, **request.provenance}


def _named(lanes: Sequence[Lane]) -> str:
    return f"lane{'s' if len(lanes) > 1 else ''} {', '.join(lanes)}"


def _absence(lanes: Sequence[Lane]) -> str:
    return f"{_named(lanes)}: not read, because no transcript of the deployment arm is read in this run"


def _summary(result: ReadResult, out: str) -> str:
    stops = ", ".join(f"{count} {stop}" for stop, count in sorted(result.stops.items())) or "nothing to do"
    levels = ", ".join(f"{count} {level}" for level, count in sorted(result.donor_levels.items()))
    donors = f"; donors matched: {levels}" if levels else ""
    scored = f"; {result.rescored} earlier readings scored" if result.rescored else ""
    left = (
        f"; {result.unscorable} still unscored, because their control activation changed" if result.unscorable else ""
    )
    there = f"({result.present} were already in the store)"
    beside = f"; {result.scored} scores" if result.scored else ""
    return f"{stops} {there}{beside}{donors}{scored}{left}. Next: {next_step('nla-eval', 'report', out)}"
