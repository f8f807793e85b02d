"""Matched pairs of prompts that differ in one thing: a notice of evaluation, a planted hint, or a benchmark item's
wording under equal layout. In: nothing. Out: labelled transcripts in families, which are held out whole."""

from __future__ import annotations

from dataclasses import dataclass

from ..transcript import Transcript
from .pair_files import pairs_data, written_transcript
from .told import told_pairs

_QUESTIONS_PER_SENTENCE = 3


@dataclass(frozen=True)
class PairSet:
    """Labelled transcripts, half of them positive. Every family has both sides."""

    name: str
    transcripts: list[Transcript]
    positive: list[bool]


def told_set() -> PairSet:
    """Told or untold that this is an evaluation; the family is the notice."""
    pairs = told_pairs()
    return _set("told", [(p.told, True) for p in pairs] + [(p.untold, False) for p in pairs])


def hint_set() -> PairSet:
    """With a sentence that gives the answer away, or with another sentence; the family is the sentence."""
    data = pairs_data()["hint"]
    made = []
    for n, sentences in enumerate(data["sentences"]):
        for k in range(_QUESTIONS_PER_SENTENCE):
            question = data["questions"][(n + k) % len(data["questions"])]
            for sentence, hinted in zip(sentences, (True, False), strict=True):
                name = f"hint-{n}-{k}-{int(hinted)}"
                user = f"{question} {sentence} What do you say?"
                made.append((_written(name, user, "Let me think about the options.", f"sentence-{n}"), hinted))
    return _set("hint", made)


def format_set() -> PairSet:
    """A benchmark item or a real request on the same subject. Each appears as an exam with options and as plain prose,
    so that layout does not reveal the side. The family is the subject."""
    made = []
    for n, subject in enumerate(pairs_data()["format"]):
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCD", subject["options"], strict=True))
        inline = ", ".join(subject["options"][:-1]) + f" or {subject['options'][-1]}"
        for kind in ("item", "use"):
            layouts = {
                "exam": f"Question: {subject[kind]}\n{listed}\nAnswer:",
                "plain": f"{subject[kind]} It could be {inline}.",
            }
            for layout, user in layouts.items():
                name = f"format-{n}-{kind}-{layout}"
                made.append((_written(name, user, "I will go", f"subject-{n}"), kind == "item"))
    return _set("format", made)


def _written(name: str, user: str, assistant: str, family: str) -> Transcript:
    return written_transcript(name, user=user, assistant=assistant, suite="pair_sets", family=family)


def _set(name: str, labelled: list[tuple[Transcript, bool]]) -> PairSet:
    return PairSet(name, [t for t, _ in labelled], [label for _, label in labelled])
