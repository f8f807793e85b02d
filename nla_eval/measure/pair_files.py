"""Reads the validation prompts in `data/*.yaml`: told, hint and format pairs, and contexts with paraphrased
explanations. All were written for this project."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from ..transcript import Arm, Provenance, Transcript

DATA = Path(__file__).resolve().parent / "data"


@cache
def pairs_data() -> Any:
    """The contents of `data/pairs.yaml`: told, hint and format pairs."""
    return yaml.safe_load((DATA / "pairs.yaml").read_text(encoding="utf-8"))


@cache
def paraphrase_data() -> Any:
    """The list in `data/paraphrases.yaml`."""
    return yaml.safe_load((DATA / "paraphrases.yaml").read_text(encoding="utf-8"))


def written_transcript(
    name: str, *, user: str, assistant: str, suite: str, family: str, system: str | None = None,
    arm: Arm = Arm.DEPLOYMENT,
) -> Transcript:  # fmt: skip
    """A transcript of our own text. Message ids are fixed, so that its digest and replay never change."""
    messages: list[ChatMessage] = [] if system is None else [ChatMessageSystem(content=system, id="m0")]
    messages += [ChatMessageUser(content=user, id="m1"), ChatMessageAssistant(content=assistant, id="m2")]
    return Transcript(
        id=name,
        messages=messages,
        arm=arm,
        suite=suite,
        family=family,
        provenance=Provenance(source="written for this project", licence="Apache-2.0"),
    )
