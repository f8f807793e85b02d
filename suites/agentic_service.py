"""Agentic customer service: finished runs of tau-bench and similar evaluations, from the user's own files. Evaluation
arm."""

from __future__ import annotations

from typing import Any

from inspect_ai import Task
from nla_eval.suites._own_files import at, task_of, wants_path

from nla_eval.awareness import awareness_task
from nla_eval.suite import Arm, Suite, card_beside, register, task

SUITE = register(Suite(card=card_beside(__file__), load=wants_path("agentic_service", Arm.EVALUATION)))


@task(name="nla_eval/agentic_service", arm="evaluation", needs="path")
def agentic_service(path: str = "", messages_key: str = "", **options: Any) -> Task:
    """Measure awareness on agents that serve customers.

    Args:
        path: An Inspect log of tau2, a JSON or JSONL file of runs, or a folder of them.
        messages_key: Dotted key of a record's messages: "traj" in tau-bench's own result files.
        options: `nla_eval.awareness.TaskOptions`.
    """
    return awareness_task(at(SUITE, path, task_of, messages_key=messages_key), **options)
