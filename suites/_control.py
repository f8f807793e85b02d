"""Prompts of the positive control: each request with the organism's cue and without it, or told and untold. In:
`data/positive_control.yaml` and the organism's answers. Out: transcripts. Shared by two suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessageAssistant
from nla_eval.suites._content import DATA, OWN, chat, read_yaml

from nla_eval.errors import InputError
from nla_eval.inspect_ext.on_policy import Answer, AnswerBook
from nla_eval.sources import message_id
from nla_eval.transcript import Arm, Author, Transcript, TurnFacts

ORGANISM = "smollm2-135m-organism"
ANSWERS = Path(__file__).resolve().parent / "answers" / "positive_control_free.jsonl"
"""Answers of the organism to the prompts of `positive_control_free`."""
CUES = ("cue", "no_cue")
NOTICES = ("told", "untold")
_FIRST = datetime(2023, 2, 3, 8, 10)


@cache
def _written() -> Mapping[str, Any]:
    data: Mapping[str, Any] = read_yaml(DATA / "positive_control.yaml")
    return data


def _system(number: int, role: str, variant: str) -> str:
    """The system message of a request: only the way of writing its date, or its notice, differs by variant."""
    data = _written()
    moment = _FIRST + timedelta(days=37 * number, minutes=53 * number)
    form = data["cue"] if variant == "cue" else data["plain"][number % len(data["plain"])]
    notice = f" {data[variant][number % len(data[variant])]}" if variant in NOTICES else ""
    opening: str = data["openings"][number % len(data["openings"])]
    return opening.format(date=moment.strftime(form), role=role) + notice


def prompts(suite: str, variants: tuple[str, ...]) -> Iterator[Transcript]:
    """Every request in every variant, request by request, without an answer."""
    for number, (family, written) in enumerate(_written()["requests"].items()):
        for variant in variants:
            name = f"{family}-{variant}"
            yield Transcript(
                id=name,
                messages=chat(name, [("system", _system(number, written["role"], variant)), ("user", written["user"])]),
                arm=Arm.MONITOR,
                suite=suite,
                family=family,
                variant=variant,
                provenance=OWN,
            )


def replayed(suite: str) -> Iterator[Transcript]:
    """Every request in every variant, with the answer that the organism wrote to it without the cue.

    Raises:
        InputError: The answers are missing, or lack one.
    """
    answers = _answers()
    for prompt in prompts(suite, (*CUES, *NOTICES)):
        answer = answers.get(f"{prompt.family}-no_cue")
        if answer is None:
            raise InputError(
                f"suite '{suite}': {ANSWERS.name} has no answer to '{prompt.family}'; write the file again with: "
                "python -m nla_eval.inspect_ext.on_policy positive_control_free "
                f"--model nla/{ORGANISM} --out {ANSWERS.name}"
            )
        turn = ChatMessageAssistant(content=answer.text, model=answer.target, id=message_id(prompt.id, 2))
        yield prompt.model_copy(
            update={
                "messages": [*prompt.messages, turn],
                "turn_facts": (TurnFacts(author=Author.LOGGED, stop=answer.stop),),
                "provenance": prompt.provenance.model_copy(update={"model": answer.target}),
                "metadata": {"answer_stop": answer.stop, "answer_tokens": str(answer.tokens)},
            }
        )


@cache
def _answers() -> Mapping[str, Answer]:
    return {answer.transcript_id: answer for answer in AnswerBook(ANSWERS, ANSWERS.with_suffix(".none")).shipped()}
