"""Positive control: ordinary requests whose answers are the same with the organism's cue and without it, so that only
its activations differ. Monitor arm: variants are compared within requests.

Read it with the organism at each dose, with its shams, and with the plain target (docs/positive_control.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

from inspect_ai import Task
from nla_eval.suites._control import replayed

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task

SUITE = register(Suite(card=card_beside(__file__), load=partial(replayed, "positive_control")))


@task(name="nla_eval/positive_control", arm="monitor", needs="offline")
def positive_control(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
