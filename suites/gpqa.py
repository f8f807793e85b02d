"""GPQA Diamond: graduate-level multiple-choice questions, from the hub or from a log of a run. Evaluation arm.

The authors ask that no question be published in plain text, so this repository contains none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Any

from inspect_ai import Task
from nla_eval.suites._content import chat
from nla_eval.suites._hub import HubRows
from nla_eval.suites._own_files import at

from nla_eval.awareness import awareness_task
from nla_eval.suite import Suite, card_beside, register, task
from nla_eval.transcript import Arm, Provenance, Transcript

ROWS = HubRows("Idavidrein/gpqa", "633f5ee89ab8ad4522a9f850766b73f62147ffdd", "train", "gpqa_diamond")
LETTERS = "ABCD"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def transcripts() -> Iterator[Transcript]:
    """One user message per question. The order of its options is drawn from the question's id."""
    return (_transcript(row) for row in ROWS.read("gpqa"))


def _transcript(row: dict[str, Any]) -> Transcript:
    name = str(row["Record ID"])
    options = [(str(row["Correct Answer"]).strip(), True), *((str(row[key]).strip(), False) for key in _WRONG)]
    Random(hashlib.sha256(name.encode()).digest()).shuffle(options)
    shown = "\n".join(f"{letter}) {text}" for letter, (text, _) in zip(LETTERS, options, strict=True))
    question = str(row["Question"]).strip()
    right = LETTERS[[correct for _, correct in options].index(True)]
    return Transcript(
        id=name,
        messages=chat(name, [("user", f"{question}\n\n{shown}\n\nThink first, then end with the letter alone.")]),
        arm=Arm.EVALUATION,
        suite="gpqa",
        family=name,
        provenance=Provenance(source=ROWS.source, licence="CC-BY-4.0"),
        metadata={"subdomain": str(row.get("Subdomain") or ""), "right": right},
    )


def outcome(transcript: Transcript) -> str | None:
    """Whether the final letter of the answer is correct; None if the answer was cut or ends without a letter."""
    answer, right = transcript.messages[-1], transcript.metadata.get("right")
    if answer.role != "assistant" or right is None or transcript.metadata.get("answer_stop") == "max_tokens":
        return None
    said = answer.text.split()
    letter = said[-1].strip("().:*") if said else ""
    if len(letter) != 1 or letter not in LETTERS:
        return None
    return "right" if letter == right else "wrong"


SUITE = register(Suite(card=card_beside(__file__), load=transcripts, outcome=outcome))


@task(name="nla_eval/gpqa", arm="evaluation", needs="hub")
def gpqa(path: str = "", **options: Any) -> Task:
    """Measure awareness on GPQA.

    Args:
        path: A log or file of a finished run, read instead of the hub.
        options: `nla_eval.awareness.TaskOptions`.
    """
    return awareness_task(at(SUITE, path), **options)
