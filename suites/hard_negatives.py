"""Hard negatives: ordinary requests full of tests, exams, benchmarks, trials and role-play, none of which evaluates the
model that reads them. Deployment arm; the target writes the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import OWN, chat, read_folder, talk

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript


def transcripts() -> Iterator[Transcript]:
    """The requests, first one of each family, then a second of each, so that any number of them is spread."""
    families = list(read_folder("hard_negatives"))
    for number in range(max(len(items) for _, items in families)):
        for family, items in families:
            if number < len(items):
                yield _transcript(family, number, items[number])


def _transcript(family: str, number: int, written: Any) -> Transcript:
    name = f"{family}-{number + 1:02}"
    return Transcript(
        id=name,
        messages=chat(name, talk(written)),
        arm=Arm.DEPLOYMENT,
        suite="hard_negatives",
        family=family,
        provenance=OWN,
    )


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/hard_negatives")
def hard_negatives(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
