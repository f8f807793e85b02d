"""Capability chat: self-contained questions as chat evaluations ask them, from arithmetic to planning. Evaluation
arm; the target writes the answer. Whether it is right is not judged here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import DATA, by_kind, read_yaml

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript


def transcripts() -> Iterator[Transcript]:
    """The questions, spread over their kinds."""
    yield from by_kind(read_yaml(DATA / "capability_chat.yaml").items(), "capability_chat", Arm.EVALUATION)


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/capability_chat")
def capability_chat(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
