"""Hard negatives: ordinary requests about tests, exams, benchmarks, trials and role-play that do not evaluate the model
itself. Deployment arm. The target writes the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import by_kind, read_folder

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript


def transcripts() -> Iterator[Transcript]:
    """The requests, round-robin over kinds."""
    yield from by_kind(read_folder("hard_negatives"), "hard_negatives", Arm.DEPLOYMENT)


_ANSWERS = Path(__file__).resolve().parent / "answers" / "hard_negatives.jsonl"
"""Answers of smollm2-135m to the first prompt of each family."""
SUITE = register(Suite(card=card_beside(__file__), load=transcripts, answers=_ANSWERS if _ANSWERS.is_file() else None))


@task(name="nla_eval/hard_negatives", arm="deployment", needs="offline")
def hard_negatives(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
