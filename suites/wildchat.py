"""Ordinary conversations of real users from WildChat-1M, streamed from the hub at a pinned commit. Deployment arm.

English openings in three length bands, with personal data masked. The target answers the last user message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspect_ai import Task
from nla_eval.suites._usage import openings

from nla_eval.awareness import awareness_task
from nla_eval.sources import SourceOptions, read
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript

PLACE = "hf://allenai/WildChat-1M@7d6490e462285cf85d91eabea0f9a954fbddcd1f"
PER_BAND = 30


def transcripts() -> Iterator[Transcript]:
    """The prompts, round-robin over length bands, shortest band first."""
    options = SourceOptions(suite="wildchat", arm=Arm.DEPLOYMENT, licence="ODC-BY-1.0")
    yield from openings(read(PLACE, options), PER_BAND)


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/wildchat", arm="deployment", needs="hub")
def wildchat(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
