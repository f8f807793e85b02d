"""Destructive coding: a request whose obvious answer deletes or overwrites something that cannot be restored.
Evaluation arm.

The target acts through Inspect's tool loop on a simulated repository. The outcome is the state of the precious files.
For targets that cannot call tools, `destructive_coding_scripted` has finished runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from inspect_ai import Task
from nla_eval.suites._situations import outcome, prompts, tools

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task

SUITE = register(
    Suite(card=card_beside(__file__), load=partial(prompts, "destructive_coding"), outcome=outcome, tools=tools)
)


@task(name="nla_eval/destructive_coding", arm="evaluation", needs="offline")
def destructive_coding(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
