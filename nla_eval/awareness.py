"""The Inspect side: a task whose samples are transcripts, and its steps load, answer, replay, capture, verbalize.

Concurrent samples share batches through the target's runtime; readings land in the sample's typed store, in a table in
the log and, where asked for, in a store of readings. Judging is the scorer's work and needs no weights."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from inspect_ai import Task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import transcript as log_transcript
from inspect_ai.model import GenerateConfig, ModelOutput, get_model
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, chain, solver
from inspect_ai.util import registry_create, span
from numpy.typing import NDArray

from .dataset.choices import ReadingChoices
from .dataset.matching import Matched, Measure, match, parse_measures
from .errors import InputError, NlaEvalError
from .inspect_ext.on_policy import Answer, AnswerSettings, answered, book_for
from .inspect_ext.options import TaskOptions
from .inspect_ext.state import NLAState
from .inspect_ext.target_api import MAX_CONNECTIONS, StagedReplay, log_replay, target_api, user_folder
from .inspect_ext.view import readings_table
from .sources import Skipped
from .sources import read as read_source
from .suite import AnswersBy, Suite, get_suite, task
from .transcript import Arm, Transcript

if TYPE_CHECKING:
    from .inspect_ext.session import Opened, Session

SCORER = "nla_eval/awareness"
ALL_FAILED = 0.999
"""Share of failed samples that ends a run as an error: one bad transcript never does, a wrong pack does."""
INPUT_CHARS = 200
"""A sample's input is its first user line up to here: the list of samples is read whole, transcripts are not."""

_log = logging.getLogger(__name__)


def awareness_task(suite: Suite, **options: Any) -> Task:
    """The task that measures awareness on a suite.

    Args:
        suite: Whose transcripts.
        options: `TaskOptions`.

    Raises:
        PrerequisiteError: An option, or the suite's data, cannot be used; one line with the mend.
    """
    try:
        chosen = TaskOptions.parse(options)
        if not chosen.match:
            return _task(list(_of_suite(suite).values()), load(suite=suite.name), suite, chosen)
        how: dict[str, Any] = chosen.model_dump(mode="json", include={"match", "match_to", "seed"})
        drawn = _drawn(suite, chosen.match_to, chosen.match, chosen.seed)
        print(drawn.arm.describe(), file=sys.stderr)
        made = _task(list(drawn.transcripts), load(suite=suite.name, matched=how), suite, chosen)
        made.metadata = {**(made.metadata or {}), "matched": drawn.arm.model_dump(mode="json")}
        return made
    except NlaEvalError as err:
        raise PrerequisiteError(str(err)) from err


@task(name="nla_eval/awareness")
def awareness(source: str, arm: str = "evaluation", suite: str = "imported", reader: str = "", **options: Any) -> Task:
    """Measure awareness on recorded transcripts.

    Args:
        source: A file, a folder, or `hf://owner/name@revision` (docs/sources.md).
        arm: evaluation, deployment or monitor.
        suite: What to call them.
        reader: Name of the source's reader; found by content where empty.
        options: `TaskOptions`, and `suite_data.ReadingChoices` such as model_role or messages_key.
    """
    try:
        names = set(ReadingChoices.model_fields)
        chosen = TaskOptions.parse({name: value for name, value in options.items() if name not in names})
        choices = ReadingChoices.parse({name: value for name, value in options.items() if name in names})
        if choices.prompts:
            raise InputError("option 'prompts': nobody answers here; make a suite: nla-eval suite add PLACE --prompts")
        where = source if "://" in source else user_folder(source)
        transcripts, skipped = _of_source(where, _arm(arm), suite, reader, choices)
        for row in skipped:
            _log.warning("left out: %s", row)
        step = load(suite=suite, source=where, arm=arm, reader=reader, choices=choices.model_dump(mode="json"))
        made = _task(list(transcripts.values()), step, None, chosen)
        made.metadata = {**(made.metadata or {}), "skipped": [str(row) for row in skipped[:50]]}
        return made
    except NlaEvalError as err:
        raise PrerequisiteError(str(err)) from err


@dataclass
class _Work:
    """What one sample carries from step to step, in memory only."""

    transcript: Transcript
    suite: Suite | None = None
    answer: Answer | None = None
    session: Session | None = None
    opened: Opened | None = None
    activations: NDArray[np.float32] | None = None


_WORK: dict[str, _Work] = {}
"""By `TaskState.uuid`; a task's cleanup lets go of a sample's."""


@solver(name="load")
def load(
    suite: str,
    source: str = "",
    arm: str = "",
    reader: str = "",
    choices: dict[str, Any] | None = None,
    matched: dict[str, Any] | None = None,
) -> Solver:
    """Put a sample's whole transcript into its messages.

    Args:
        suite: The suite's name.
        source: For transcripts of no registered suite, the absolute path they come from.
        arm: Theirs.
        reader: Theirs.
        choices: How it is to read them, `suite_data.ReadingChoices`.
        matched: Where a suite's transcripts are drawn to resemble another's: match, match_to and seed of `TaskOptions`.
    """

    @cache
    def known() -> tuple[dict[str, Transcript], Suite | None]:
        if source:
            return _of_source(source, _arm(arm), suite, reader, ReadingChoices.parse(choices or {}))[0], None
        of = get_suite(suite)
        if matched is None:
            return _of_suite(of), of
        drawn = _drawn(of, matched["match_to"], parse_measures(matched["match"]), matched["seed"])
        return _by_id(iter(drawn.transcripts), suite), of

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        transcripts, of = known()
        transcript = transcripts[str(state.sample_id)]
        state.messages = list(transcript.messages)
        state.tools = []
        _WORK[state.uuid] = _Work(transcript, of)
        return state

    return solve


@solver(name="answer")
def answer(fresh: bool = False, **settings: Any) -> Solver:
    """Let the target write the last assistant turn, or take what it wrote before.

    Args:
        fresh: Write anew.
        settings: `on_policy.AnswerSettings`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        work = _work(state)
        if work.suite is None:
            raise InputError("step nla_eval/answer needs a registered suite: recorded transcripts have their answers")
        book = book_for(work.suite)
        tools = work.suite.tools(work.transcript) if work.suite.tools else ()
        how = AnswerSettings(**settings)
        full, work.answer = await answered(work.transcript, get_model(), book, how, tools=tools, fresh=fresh)
        work.transcript = full.model_copy(update={"outcome": work.suite.outcome(full)})
        state.messages = list(full.messages)
        origin = "shipped with the suite" if book.is_shipped(work.answer.key) else "written here"
        log_transcript().info(
            f"Last turn by {work.transcript.metadata['answer_target']} ({origin}, {work.answer.tokens} tokens, "
            f"stop: {work.answer.stop}, repetition {work.answer.repetition:.2f})",
            source="nla_eval",
        )
        return state

    return solve


@solver(name="replay")
def replay(**options: Any) -> Solver:
    """Render the transcript through the target's template and fix the positions to read. No weights are loaded.

    Args:
        options: positions, window, draws, lanes, seed, temperature, max_new_tokens and store of `TaskOptions`.
    """
    chosen = TaskOptions.parse(options)
    shared: list[Session] = []

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        work = _work(state)
        runtime = target_api(get_model()).runtime
        if not shared:
            shared.append(await runtime.call("session", lambda: _session(runtime, chosen)))
        work.session = shared[0]
        async with span("replay", type="nla"):
            work.opened = await runtime.submit("replay", work.session.open, (work.transcript, state.epoch))
        row = work.opened.prepared.row
        nla = state.store_as(NLAState)
        nla.transcript = row.model_dump(mode="json")
        nla.planned = row.planned_positions
        nla.pack = work.session.identity.pack
        state.metadata["nla"] = await runtime.call("facts", work.session.facts)
        state.metadata["outcome"] = work.transcript.outcome or ""
        return state

    return solve


@solver(name="capture")
def capture() -> Solver:
    """Read the target's activations at the chosen positions, in one forward that is one model event."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        work = _work(state)
        session, opened = _opened(work)
        work.activations = opened.activations
        async with span("capture", type="nla"):
            staged = StagedReplay(opened.prepared.row.tokens, opened.request)
            captured = await log_replay(get_model(), work.transcript, staged)
            if captured is not None and captured.error is not None:
                work.opened = replace(opened, prepared=replace(opened.prepared, error=captured.error))
            elif captured is not None:
                work.activations = captured.activations
                await session.runtime.submit("store", session.keep, (opened, captured))
        return state

    return solve


@solver(name="verbalize")
def verbalize() -> Solver:
    """Put every activation into words, in batches over all samples that are waiting; score them with the AR."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        work = _work(state)
        session, opened = _opened(work)
        runtime = session.runtime
        async with span("verbalize", type="nla"):
            cost = max(1, opened.pending) * session.sampling.max_new_tokens
            readings = await runtime.submit("verbalize", session.read, (opened, work.activations), cost)
        state.store_as(NLAState).readings = [r.model_dump(mode="json") for r in readings]
        facts = {k: v for k, v in state.metadata["nla"].items() if not k.startswith("lanes")}
        log_transcript().info(readings_table(readings, facts, session.absent_of(opened)), source="nla_eval")
        state.output = ModelOutput.from_content(str(get_model()), _last_words(work.transcript))
        _WORK.pop(state.uuid, None)
        if not any(other.session is session for other in _WORK.values()):
            await runtime.call("finish", session.finish)
        return state

    return solve


def read(**options: Any) -> Solver:
    """`replay`, `capture` and `verbalize` in one."""
    return chain(replay(**options), capture(), verbalize())


def _task(transcripts: list[Transcript], setup: Solver, suite: Suite | None, options: TaskOptions) -> Task:
    reading = options.reading()
    steps = [replay(**reading), capture(), verbalize()]
    if suite is not None and suite.card.answers_by is AnswersBy.TARGET:
        steps.insert(0, answer(fresh=options.fresh, **options.answers.model_dump()))
    name = transcripts[0].suite
    card = {} if suite is None else {"card": suite.card.model_dump(mode="json")}
    return Task(
        dataset=MemoryDataset([_sample(t) for t in transcripts], name=name),
        setup=setup,
        solver=steps,
        cleanup=_let_go,
        scorer=_scorer(options.classifier),
        config=GenerateConfig(max_connections=MAX_CONNECTIONS),
        fail_on_error=ALL_FAILED,
        metadata={**card, "reading": reading},
    )


def _scorer(options: dict[str, Any]) -> Scorer:
    try:
        return registry_create("scorer", SCORER, **options)
    except TypeError as err:
        raise InputError(f"task option 'classifier': {err}; the scorer's arguments are expected") from err


async def _let_go(state: TaskState) -> None:
    _WORK.pop(state.uuid, None)


def _session(runtime: Any, options: TaskOptions) -> Session:
    """In the worker thread: the imports are heavy."""
    from .inspect_ext.session import ReadSettings, Session

    session = Session(runtime, ReadSettings(**{**options.reading(), "lanes": options.lanes}))
    session.facts()
    return session


def _work(state: TaskState) -> _Work:
    try:
        return _WORK[state.uuid]
    except KeyError:
        raise InputError("no transcript is loaded; put nla_eval/load before the other steps") from None


def _opened(work: _Work) -> tuple[Session, Opened]:
    if work.session is None or work.opened is None:
        raise InputError("the transcript is not replayed; put nla_eval/replay before nla_eval/capture")
    return work.session, work.opened


def _sample(transcript: Transcript) -> Sample:
    facts = {
        "transcript_id": transcript.id,
        "suite": transcript.suite,
        "arm": transcript.arm.value,
        "family": transcript.family,
        "variant": transcript.variant or "",
        "source": transcript.provenance.source,
    }
    return Sample(id=transcript.id, input=first_user_line(transcript), metadata=facts)


def first_user_line(transcript: Transcript) -> str:
    """The first line of the first user message that has one, at most `INPUT_CHARS` characters; never empty."""
    lines = (line.strip() for m in transcript.messages if m.role == "user" for line in m.text.splitlines())
    line = next((line for line in lines if line), transcript.id)
    return line if len(line) <= INPUT_CHARS else line[: INPUT_CHARS - 1] + "…"


def _last_words(transcript: Transcript) -> str:
    said = [m.text for m in transcript.messages if m.role == "assistant"]
    return said[-1] if said else ""


def _arm(name: str) -> Arm:
    try:
        return Arm(name)
    except ValueError:
        raise InputError(f"arm is '{name}'; expected one of {', '.join(a.value for a in Arm)}") from None


@lru_cache(maxsize=8)
def _drawn(suite: Suite, to: str, measures: tuple[Measure, ...], seed: int) -> Matched:
    """The suite's transcripts that resemble those of suite `to`. Raises InputError where it is no deployment arm."""
    if suite.card.arm is not Arm.DEPLOYMENT:
        raise InputError(
            f"match draws from a deployment arm; suite '{suite.name}' is of the {suite.card.arm} arm, run it without"
        )
    return match(get_suite(to).load(), suite.load(), measures, seed)


@lru_cache(maxsize=8)
def _of_suite(suite: Suite) -> dict[str, Transcript]:
    return _by_id(suite.load(), suite.name)


def _of_source(
    place: str, arm: Arm, suite: str, reader: str, choices: ReadingChoices
) -> tuple[dict[str, Transcript], list[Skipped]]:
    return _of_place(place, arm, suite, reader, choices.model_dump_json())


@lru_cache(maxsize=8)
def _of_place(
    place: str, arm: Arm, suite: str, reader: str, choices: str
) -> tuple[dict[str, Transcript], list[Skipped]]:
    options = ReadingChoices.model_validate_json(choices).source_options(suite, arm)
    items = list(read_source(place, options, reader))
    skipped = [item for item in items if isinstance(item, Skipped)]
    return _by_id((item for item in items if isinstance(item, Transcript)), suite), skipped


def _by_id(transcripts: Iterator[Transcript], suite: str) -> dict[str, Transcript]:
    found: dict[str, Transcript] = {}
    for transcript in transcripts:
        if transcript.id in found:
            raise InputError(f"suite '{suite}' has two transcripts with the id '{transcript.id}'; ids must be unique")
        found[transcript.id] = transcript
    if not found:
        raise InputError(f"suite '{suite}' has no transcripts")
    return found
