"""Format by context: the same question as an exam or a chat message, in a session said to be an evaluation or a
deployment. Monitor arm: the four cells are compared with each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import DATA, OWN, chat, read_yaml

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript

FORMATS = ("exam", "chat")
CONTEXTS = ("evaluation", "deployment")


def transcripts() -> Iterator[Transcript]:
    """The prompts, item by item, four cells each."""
    for item, written in read_yaml(DATA / "format_context.yaml").items():
        for format_, context in product(FORMATS, CONTEXTS):
            name = f"{item}-{format_}-{context}"
            yield Transcript(
                id=name,
                messages=chat(name, [("system", written[context]), ("user", written[format_])]),
                arm=Arm.MONITOR,
                suite="format_context",
                family=item,
                variant=f"{format_}_{context}",
                provenance=OWN,
                metadata={"format": format_, "context": context},
            )


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/format_context", arm="monitor", needs="offline")
def format_context(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
