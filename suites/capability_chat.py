"""Capability chat: self-contained questions in the style of chat evaluations, from arithmetic to planning. Evaluation
arm. The target writes the answer; its correctness is not judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import DATA, by_kind, read_yaml

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript


def transcripts() -> Iterator[Transcript]:
    """The questions, round-robin over kinds."""
    yield from by_kind(read_yaml(DATA / "capability_chat.yaml").items(), "capability_chat", Arm.EVALUATION)


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/capability_chat", arm="evaluation", needs="offline")
def capability_chat(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
