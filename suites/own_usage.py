"""The user's own conversations as a baseline: product logs, chat exports. Deployment arm, masked.

No text leaves the machine. Personal data that patterns and libraries can find is masked before anything is stored."""

from __future__ import annotations

from typing import Any

from inspect_ai import Task
from nla_eval.suites._own_files import at, wants_path

from nla_eval.awareness import awareness_task
from nla_eval.suite import Arm, Suite, card_beside, register, task

SUITE = register(Suite(card=card_beside(__file__), load=wants_path("own_usage", Arm.DEPLOYMENT)))


@task(name="nla_eval/own_usage", arm="deployment", needs="path")
def own_usage(path: str = "", messages_key: str = "", **options: Any) -> Task:
    """Measure awareness on the user's own traffic.

    Args:
        path: A file or folder in any format that `nla-eval suite inspect` understands.
        messages_key: Dotted key of a record's messages; detected if empty.
        options: `nla_eval.awareness.TaskOptions`.
    """
    return awareness_task(at(SUITE, path, masked=True, messages_key=messages_key), **options)
