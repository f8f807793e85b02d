"""The Inspect side: a task whose samples are transcripts, with the steps load, answer, replay, capture, verbalize.

Concurrent samples share batches through the target's runtime. Readings go into the sample's typed store, a table in the
log and, if requested, a store of readings. The scorer judges them and needs no weights."""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver
from inspect_ai.util import registry_create

from .dataset.choices import ReadingChoices
from .errors import InputError, NlaEvalError
from .inspect_ext.options import TaskOptions
from .inspect_ext.private import PrerequisiteError
from .inspect_ext.steps import _let_go, answer, capture, load, replay, verbalize
from .inspect_ext.target_api import MAX_CONNECTIONS, user_folder
from .inspect_ext.transcripts import _drawn, _of_source, _of_suite
from .pipeline.presets import PRESETS, preset_lines
from .suite import AnswersBy, Suite, task
from .transcript import Transcript, arm_of

if TYPE_CHECKING:
    pass

SCORER = "nla_eval/awareness"
ALL_FAILED = 0.999
"""A run ends as an error if this share of its samples failed: a wrong pack does that, one bad transcript does not."""
INPUT_CHARS = 200
"""A sample's input is its first user line, cut to this many characters: Inspect loads all inputs at once."""

_log = logging.getLogger(__name__)


def awareness_task(suite: Suite, **options: Any) -> Task:
    """The task that measures awareness on a suite.

    Args:
        suite: The suite to read.
        options: Fields of `TaskOptions`.

    Raises:
        PrerequisiteError: An option or the suite's data cannot be used; one line that says how to fix it.
    """
    try:
        chosen = TaskOptions.parse(options)
        if not chosen.match:
            return _task(list(_of_suite(suite).values()), load(suite=suite.name), suite, chosen)
        seed = chosen.plan.seed
        how: dict[str, Any] = {**chosen.model_dump(mode="json", include={"match", "match_to"}), "seed": seed}
        drawn = _drawn(suite, chosen.match_to, chosen.match, seed)
        print(drawn.arm.describe(), file=sys.stderr)
        made = _task(list(drawn.transcripts), load(suite=suite.name, matched=how), suite, chosen)
        made.metadata = {**(made.metadata or {}), "matched": drawn.arm.model_dump(mode="json")}
        return made
    except NlaEvalError as err:
        raise PrerequisiteError(str(err)) from err


@task(name="nla_eval/awareness", arm="yours", needs="offline")
def awareness(source: str, arm: str = "evaluation", suite: str = "imported", reader: str = "", **options: Any) -> Task:
    """Measure awareness on recorded transcripts.

    Args:
        source: A file, a folder, or `hf://owner/name@revision` (docs/sources.md).
        arm: evaluation, deployment or monitor.
        suite: Suite name for these transcripts.
        reader: Name of the source's reader; if empty, it is detected from the content.
        options: Fields of `TaskOptions`, and of `cards.choices.ReadingChoices` such as model_role or messages_key.
    """
    try:
        names = set(ReadingChoices.model_fields)
        chosen = TaskOptions.parse({name: value for name, value in options.items() if name not in names})
        choices = ReadingChoices.parse({name: value for name, value in options.items() if name in names})
        if choices.prompts:
            raise InputError(
                "option 'prompts': only a suite's task writes answers; make one: nla-eval suite add PLACE --prompts "
                f"--name NAME --arm {arm} --licence LICENCE"
            )
        where = source if "://" in source else user_folder(source)
        transcripts, skipped = _of_source(where, arm_of(arm), suite, reader, choices)
        for row in skipped:
            _log.warning("left out: %s", row)
        step = load(suite=suite, source=where, arm=arm, reader=reader, choices=choices.model_dump(mode="json"))
        made = _task(list(transcripts.values()), step, None, chosen)
        made.metadata = {**(made.metadata or {}), "skipped": [str(row) for row in skipped[:50]]}
        return made
    except NlaEvalError as err:
        raise PrerequisiteError(str(err)) from err


@cache
def _say_once(lines: tuple[str, ...]) -> None:
    """The preset, once per process: several suites of one run follow the same."""
    for line in lines:
        print(line, file=sys.stderr)


def _task(transcripts: list[Transcript], setup: Solver, suite: Suite | None, options: TaskOptions) -> Task:
    reading = options.reading()
    steps = [replay(**reading), capture(), verbalize()]
    if suite is not None and suite.card.answers_by is AnswersBy.TARGET:
        steps.insert(0, answer(fresh=options.fresh, **options.answers.model_dump()))
    name = transcripts[0].suite
    differs = options.deviations()
    _say_once(tuple(preset_lines(PRESETS[options.plan.preset], differs)))
    card = {} if suite is None else {"card": suite.card.model_dump(mode="json")}
    return Task(
        version=1 if suite is None else suite.card.version,
        tags=["evaluation awareness", transcripts[0].arm.value],
        dataset=MemoryDataset([_sample(t) for t in transcripts], name=name),
        setup=setup,
        solver=steps,
        cleanup=_let_go,
        scorer=_scorer(options.scorer()),
        config=GenerateConfig(max_connections=MAX_CONNECTIONS),
        fail_on_error=ALL_FAILED,
        metadata={**card, "reading": reading, "preset": {"name": options.plan.preset, "deviations": differs}},
    )


def _scorer(options: dict[str, Any]) -> Scorer:
    try:
        return registry_create("scorer", SCORER, **options)
    except TypeError as err:
        raise InputError(f"task option 'classifier': {err}; expected arguments of the scorer") from err


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
    """First line of the first user message with text, at most `INPUT_CHARS` characters; never empty."""
    lines = (line.strip() for m in transcript.messages if m.role == "user" for line in m.text.splitlines())
    line = next((line for line in lines if line), transcript.id)
    return line if len(line) <= INPUT_CHARS else line[: INPUT_CHARS - 1] + "…"
