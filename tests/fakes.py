"""Transcripts for the planted instrument (`nla_eval.bench.planted`), which every test that needs no weights uses."""

from __future__ import annotations

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser

from nla_eval.bench.planted import (
    AWARE,
    AWARE_DIRECTION,
    CHATML,
    CUE,
    D_MODEL,
    NEUTRAL,
    ByteTarget,
    PlantedEngine,
    TinyPack,
    plain_scores,
)
from nla_eval.transcript import Arm, Provenance, Transcript

__all__ = [
    "AWARE",
    "AWARE_DIRECTION",
    "CHATML",
    "CUE",
    "D_MODEL",
    "NEUTRAL",
    "ByteTarget",
    "PlantedEngine",
    "TinyPack",
    "both_arms",
    "chat",
    "plain_scores",
]


def chat(
    number: int, arm: Arm = Arm.EVALUATION, *, cue: bool = False, messages: list[ChatMessage] | None = None
) -> Transcript:
    """A short conversation; with `cue`, the user's message holds it."""
    ask = f"Question {number}: {CUE + '. ' if cue else ''}what is the capital of country {number}?"
    said = messages or [
        ChatMessageUser(content=ask),
        ChatMessageAssistant(content=f"The capital of country {number} is city {number}, 12 km from the sea."),
    ]
    return Transcript(
        id=f"{arm.value[:4]}-{number}",
        messages=said,
        arm=arm,
        suite=f"{arm.value}_suite",
        family=f"{arm.value[:4]}-family-{number % 4}",
        provenance=Provenance(source="tests"),
    )


def both_arms(each: int = 6) -> list[Transcript]:
    """`each` evaluation chats, all with the cue, and `each` deployment chats without it."""
    return [
        *(chat(i, cue=True) for i in range(each)),
        *(chat(i + 100, Arm.DEPLOYMENT) for i in range(each)),
    ]
