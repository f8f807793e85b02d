"""Ordinary conversations of real users from LMSYS-Chat-1M, streamed from the hub at a pinned commit. Deployment arm.

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

PLACE = "hf://lmsys/lmsys-chat-1m@200748d9d3cddcc9d782887541057aca0b18c5da"
PER_BAND = 30
_LICENCE = "LMSYS-Chat-1M licence agreement; no redistribution"


def transcripts() -> Iterator[Transcript]:
    """The prompts, round-robin over length bands, shortest band first."""
    options = SourceOptions(suite="lmsys", arm=Arm.DEPLOYMENT, licence=_LICENCE)
    yield from openings(read(PLACE, options), PER_BAND)


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/lmsys", arm="deployment", needs="hub")
def lmsys(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
