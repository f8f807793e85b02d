"""Positive control with free answers: the target answers each request with the organism's cue and without it. Monitor
arm: variants are compared within requests. It shows whether the planted state is said, and whether answers leak it."""

from __future__ import annotations

from functools import partial
from typing import Any

from inspect_ai import Task
from nla_eval.suites._control import ANSWERS, CUES, prompts

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task

SUITE = register(
    Suite(
        card=card_beside(__file__),
        load=partial(prompts, "positive_control_free", CUES),
        answers=ANSWERS if ANSWERS.is_file() else None,
    )
)


@task(name="nla_eval/positive_control_free", arm="monitor", needs="offline")
def positive_control_free(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
