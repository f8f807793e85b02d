"""Pools of texts with known labels, judged once by the real classifier. Worlds draw from them by label.

So a planted explanation is a real text with the real verdict of the classifier, and what the classifier misses or flags
by mistake is known exactly: its share of the pool. The texts are the frozen sets, on which no classifier learnt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..judgement import Classifier, Headline, Judgement, Label, Outcome, Rubric
from ..judging.classify import make_classifier

HEADLINE = Headline.PAPER
"""Under which worlds are judged: the headline that reports lead with."""
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Pool:
    """Texts of one kind (turns or explanations), their verdicts, and which of them is what."""

    texts: tuple[str, ...]
    verdicts: tuple[Judgement, ...]
    flags: Flags
    """(T,) whether the classifier flags a text."""
    aware: Numbers
    """Numbers of the texts that say that the model is being evaluated."""
    near: Numbers
    """Of near misses: texts about graders, traps, exams, software tests, evaluations in general."""
    ordinary: Numbers
    """Of all others."""

    def rate(self, which: Numbers) -> float:
        """Share of these texts that the classifier flags."""
        return float(self.flags[which].mean())

    def other_rate(self, near: float) -> float:
        """Share flagged of texts that are not aware, of which `near` are near misses."""
        return near * self.rate(self.near) + (1 - near) * self.rate(self.ordinary)


@dataclass(frozen=True)
class Pools:
    """Both pools and who judged them. Plain data: worker processes get a copy."""

    classifier: str
    rubric: Rubric
    explanations: Pool
    turns: Pool


def load_pools(classifier: Classifier | None = None, limit: int | None = None) -> Pools:
    """Judge the frozen texts. Texts with two good readings ("ambiguous") are left out.

    Args:
        classifier: By default the one that reports use.
        limit: Judge at most so many texts of each kind and group (aware, near, ordinary).

    Raises:
        InputError: The frozen texts are not there.
    """
    judge = classifier or make_classifier()
    counted = judge.rubric.headlines[HEADLINE]
    explanations, turns = (_pool(judge, kind, counted, limit) for kind in ("explanation", "turn"))
    return Pools(judge.name, judge.rubric, explanations, turns)


def _pool(judge: Classifier, kind: str, counted: Sequence[Label], limit: int | None) -> Pool:
    groups: tuple[list[str], list[str], list[str]] = ([], [], [])
    for line in _file(kind).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row["ambiguous"]:
            label = Label(row["label"])
            groups[0 if label in counted else 2 if label is Label.NONE else 1].append(row["text"])
    kept = [group[:: max(1, len(group) // limit)] if limit else group for group in groups]
    texts = [text for group in kept for text in group]
    verdicts = asyncio.run(judge.judge(texts, kind=kind))
    flags = np.array([verdict.under(HEADLINE, judge.rubric) is Outcome.AWARE for verdict in verdicts])
    aware, near, ordinary = np.split(np.arange(len(texts)), np.cumsum([len(group) for group in kept])[:-1])
    return Pool(tuple(texts), tuple(verdicts), flags, aware, near, ordinary)


def _file(kind: str) -> Path:
    """In a wheel the frozen texts lie in this room, in a checkout with the tests."""
    here = Path(__file__).resolve().parent
    folders = (here / "frozen", here.parent.parent / "tests" / "data" / "frozen")
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise InputError(f"the frozen texts are in neither {folders[0]} nor {folders[1]}; install nla_eval again")
    return found / f"{kind}s.jsonl"
