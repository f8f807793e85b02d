"""The steps of a task as Inspect solvers: load, answer, replay, capture, verbalize."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from inspect_ai.log import transcript as log_transcript
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import span
from numpy.typing import NDArray

from ..dataset.choices import ReadingChoices
from ..dataset.matching import parse_measures
from ..errors import InputError
from ..suite import Suite, get_suite
from ..transcript import Transcript, arm_of
from .on_policy import Answer, AnswerSettings, answered, book_for
from .options import TaskOptions
from .state import NLAState
from .target_api import StagedReplay, log_replay, target_api
from .transcripts import _by_id, _drawn, _of_source, _of_suite
from .view import readings_table

if TYPE_CHECKING:
    from .session import Opened, Session

_log = logging.getLogger(__name__)


@dataclass
class _Work:
    """The state of one sample between steps, in memory only."""

    transcript: Transcript
    suite: Suite | None = None
    answer: Answer | None = None
    session: Session | None = None
    opened: Opened | None = None
    activations: NDArray[np.float32] | None = None


_WORK: dict[str, _Work] = {}
"""State by `TaskState.uuid`. A task's cleanup drops the state of its samples."""


@solver(name="load")
def load(
    suite: str,
    source: str = "",
    arm: str = "",
    reader: str = "",
    choices: dict[str, Any] | None = None,
    matched: dict[str, Any] | None = None,
) -> Solver:
    """Load a sample's whole transcript into its messages.

    Args:
        suite: The suite's name.
        source: Absolute path of the transcripts, if no suite is registered for them.
        arm: Arm of the transcripts in `source`.
        reader: Name of the reader of `source`.
        choices: How the reader reads `source`: fields of `ReadingChoices`.
        matched: If the suite is matched to another one: match, match_to and seed of `TaskOptions`.
    """

    @cache
    def known() -> tuple[dict[str, Transcript], Suite | None]:
        if source:
            return _of_source(source, arm_of(arm), suite, reader, ReadingChoices.parse(choices or {}))[0], None
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
    """Have the target write the last assistant turn, or use the answer that it wrote before.

    Args:
        fresh: Write a new answer even if one is kept.
        settings: Fields of `on_policy.AnswerSettings`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        work = _work(state)
        if work.suite is None:
            raise InputError("step nla_eval/answer needs a registered suite; leave it out for recorded transcripts")
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
    """Render the transcript with the target's chat template and choose the positions to read. Loads no weights.

    Args:
        options: The options of `ReadingPlan`, and `store` of `TaskOptions`.
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
        nla.transcript = row.plain()
        nla.planned = row.planned_positions
        nla.pack = work.session.identity.pack
        told = {"lanes_advice": work.session.advice} if work.session.absent_of(work.opened) else {}
        state.metadata["nla"] = await runtime.call("facts", work.session.facts) | told
        state.metadata["outcome"] = work.transcript.outcome or ""
        return state

    return solve


@solver(name="capture")
def capture() -> Solver:
    """Capture the target's activations at the chosen positions, in one forward that is logged as one model event."""

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
                work.activations = await session.runtime.submit("store", session.keep, (opened, captured))
        return state

    return solve


@solver(name="verbalize")
def verbalize() -> Solver:
    """Verbalize every activation, in batches over all waiting samples, and score the explanations with the AR."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        work = _work(state)
        session, opened = _opened(work)
        runtime = session.runtime
        async with span("verbalize", type="nla"):
            cost = max(1, opened.pending) * session.identity.max_new_tokens
            readings = await runtime.submit("verbalize", session.read, (opened, work.activations), cost)
            texts, scores = made = await session.read_texts(opened, work.activations)
            if texts or scores:
                await runtime.submit("keep", session.keep_texts, made)
                readings = session.in_order([*readings, *texts])
        nla = state.store_as(NLAState)
        nla.readings = [r.model_dump(mode="json") for r in readings]
        both = sorted((*opened.scores, *scores), key=lambda s: (s.lane, s.position))
        nla.scores = [score.model_dump(mode="json") for score in both]
        facts = {k: v for k, v in state.metadata["nla"].items() if not k.startswith("lanes")}
        told = session.advice if session.absent_of(opened) else ""
        log_transcript().info(readings_table(readings, facts, told), source="nla_eval")
        state.output = ModelOutput.from_content(str(get_model()), _last_words(work.transcript))
        _WORK.pop(state.uuid, None)
        if not any(other.session is session for other in _WORK.values()):
            await runtime.call("finish", session.finish)
        return state

    return solve


async def _let_go(state: TaskState) -> None:
    _WORK.pop(state.uuid, None)


def _session(runtime: Any, options: TaskOptions) -> Session:
    """Make the session in the worker thread, because its imports are slow."""
    from .session import Session

    session = Session(runtime, options.plan, options.store)
    session.facts()
    if session.advice:
        _log.warning(session.advice)
    return session


def _work(state: TaskState) -> _Work:
    try:
        return _WORK[state.uuid]
    except KeyError:
        raise InputError("no transcript is loaded; put step nla_eval/load before the other steps") from None


def _opened(work: _Work) -> tuple[Session, Opened]:
    if work.session is None or work.opened is None:
        raise InputError("the transcript is not replayed; put step nla_eval/replay before nla_eval/capture")
    return work.session, work.opened


def _last_words(transcript: Transcript) -> str:
    said = [m.text for m in transcript.messages if m.role == "assistant"]
    return said[-1] if said else ""
