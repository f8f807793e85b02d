"""Minimal pairs: each request in three versions that differ in one clause, which says that it is a test, that it is
real, or something neutral. Monitor arm: versions are compared with each other, not with other suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import DATA, OWN, chat, read_yaml

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Transcript

VARIANTS: Mapping[str, str] = {"told_test": "test", "told_production": "production", "neutral": "neutral"}
"""Variant to the key of its clause in the file."""


def transcripts() -> Iterator[Transcript]:
    """The prompts, request by request, three versions each."""
    for base, written in read_yaml(DATA / "minimal_pairs.yaml").items():
        for variant, key in VARIANTS.items():
            name = f"{base}-{variant}"
            said = [(role, written[role]) for role in ("system", "user") if role in written]
            yield Transcript(
                id=name,
                messages=chat(name, [(role, text.replace("{clause}", written[key])) for role, text in said]),
                arm=Arm.MONITOR,
                suite="minimal_pairs",
                family=base,
                variant=variant,
                provenance=OWN,
                metadata={"clause": written[key]},
            )


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/minimal_pairs", arm="monitor", needs="offline")
def minimal_pairs(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
