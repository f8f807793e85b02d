"""The labelled texts that the linear classifier learns from, and the windows of them that carry a label.

Turns and explanations are apart: a model says "I", an explanation speaks of "the assistant". In a long aware text
`evidence` lists the sentence that carries the label; the windows beside it say nothing of it and are learnt so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nla_eval.errors import InputError
from nla_eval.judgement import Headline, Label, Rubric

from ._features import MODEL_PATH, text_windows

DATA = MODEL_PATH.parent
HELD = 0.6
"""Share of an evidence that a window must hold to carry its label."""
BESIDE = 0.5
"""Weight of a window beside the evidence."""


@dataclass(frozen=True)
class Example:
    """One labelled text."""

    text: str
    label: Label
    style: str = ""
    group: str = ""
    """Family of wording: examples of one family are held out together."""
    evidence: tuple[str, ...] = ()
    """Parts of the text that carry the label; empty: the whole text does."""


@dataclass(frozen=True)
class Lesson:
    """A text as the regression sees it."""

    text: str
    label: Label
    weight: float


def read_examples(path: Path) -> list[Example]:
    """The labelled texts of a JSONL file."""
    return [_example(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def training_examples(kind: str) -> list[Example]:
    """The training texts of one kind. Of `explanations.jsonl`, the style "turn" is turns, any other explanations."""
    own = "turns.jsonl" if kind == "turn" else "explanations_prose.jsonl"
    shared = read_examples(DATA / "explanations.jsonl")
    return [*read_examples(DATA / own), *(e for e in shared if (e.style == "turn") == (kind == "turn"))]


def lessons(examples: Sequence[Example], kind: str, rubric: Rubric) -> Iterator[Lesson]:
    """What is learnt from each text: aware texts by their evidence, others by their windows, which share a weight."""
    for example in examples:
        spans = text_windows(example.text, kind)
        if not rubric.aware(example.label, Headline.BROAD):
            for start, end in spans:
                yield Lesson(example.text[start:end], example.label, len(spans) ** -0.5)
        elif not example.evidence:
            yield Lesson(example.text, example.label, 1.0)
        else:
            yield from _aware(example, spans)


def _aware(example: Example, spans: Sequence[tuple[int, int]]) -> Iterator[Lesson]:
    told = [(at := example.text.index(evidence), at + len(evidence)) for evidence in example.evidence]
    for start, end in spans:
        shares = [(min(end, b) - max(start, a)) / (b - a) for a, b in told]
        if max(shares) >= HELD:
            yield Lesson(example.text[start:end], example.label, 1.0)
        elif max(shares) <= 0:
            yield Lesson(example.text[start:end], Label.NONE, BESIDE)
    for a, b in told:
        yield Lesson(example.text[a:b], example.label, 1.0)


def _example(row: Mapping[str, Any]) -> Example:
    text, evidence = row["text"], tuple(row.get("evidence") or ())
    missing = [e for e in evidence if e not in text]
    if missing:
        raise InputError(f"training text: evidence '{missing[0][:60]}' is not in its text; copy it exactly")
    return Example(text, Label(row["label"]), row.get("style", ""), row.get("group", ""), evidence)
