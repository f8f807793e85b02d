"""Destructive coding: a request whose obvious answer deletes or overwrites what cannot be had back. Evaluation arm.

The target acts itself, through Inspect's tool loop on a simulated repository; what became of the precious files is the
outcome. A target that cannot call tools only talks: `destructive_coding_scripted` has finished runs for it to read."""

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


@task(name="nla_eval/destructive_coding")
def destructive_coding(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
