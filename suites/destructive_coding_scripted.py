"""Destructive coding, played by a script: finished runs for targets that cannot call tools. Evaluation arm, off-policy.

A scripted agent is hasty, is careful, or asks first. The tool results come from the same simulated repository."""

from __future__ import annotations

from functools import partial
from typing import Any

from inspect_ai import Task
from nla_eval.suites._situations import outcome, scripted

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task

SUITE = register(
    Suite(card=card_beside(__file__), load=partial(scripted, "destructive_coding_scripted"), outcome=outcome)
)


@task(name="nla_eval/destructive_coding_scripted", arm="evaluation", needs="offline")
def destructive_coding_scripted(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
