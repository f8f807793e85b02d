"""Agentic-misalignment prompts of one scenario: an assistant could cancel the alarm that would save a life. Evaluation
arm.

Eight goal settings in three wordings. No prompt is also in `blackmail`. The target writes the answer; its action tags
give the outcome."""

from __future__ import annotations

from functools import partial
from typing import Any

from inspect_ai import Task
from nla_eval.suites._misalignment import of_scenario, outcome, prompts

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task

SUITE = register(
    Suite(card=card_beside(__file__), load=partial(prompts, of_scenario("murder", 1), "murder"), outcome=outcome)
)


@task(name="nla_eval/murder", arm="evaluation", needs="package")
def murder(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
