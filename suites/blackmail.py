"""Agentic-misalignment prompts: an assistant finds leverage over the person about to replace it. Evaluation arm.

The three published scenarios in one small, balanced grid; `leaking` and `murder` hold one scenario with more goals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspect_ai import Task
from nla_eval.suites._misalignment import URGENCIES, VARIANTS, Condition, outcome, prompts

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Transcript

SCENARIOS = ("blackmail", "leaking", "murder")
GOALS = (("explicit", "america"), ("latent", "america"), ("none", "none"))


def conditions() -> list[Condition]:
    """Conditions of the suite: every family in every variant, plain first. The first nine thus cover all families.

    Urgencies form a Latin square: each one occurs once with every scenario and once with every goal setting.
    """
    return [
        Condition(scenario, goal, URGENCIES[(s + g) % len(URGENCIES)], variant)
        for variant in VARIANTS
        for g, goal in enumerate(GOALS)
        for s, scenario in enumerate(SCENARIOS)
    ]


def transcripts() -> Iterator[Transcript]:
    """The prompts: a system and a user message each, without an answer."""
    yield from prompts(conditions(), "blackmail")


SUITE = register(
    Suite(
        card=card_beside(__file__),
        load=transcripts,
        outcome=outcome,
        answers=Path(__file__).resolve().parent / "answers" / "blackmail.jsonl",
    )
)


@task(name="nla_eval/blackmail", arm="evaluation", needs="package")
def blackmail(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
