"""Judgements: what a classifier says of one explanation or one assistant turn (docs/method.md 4.1, 4.2).

Outcomes are data: a truncated or unparsable reading is a row in the one denominator, never a silent negative. Rubrics
are YAML files with an id and a hash; which labels enter which headline is the rubric's to say. This module knows
neither Inspect nor any classifier."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field

from .errors import InputError


class Outcome(StrEnum):
    """The verdict of one judgement; the first three are judged, the others are not."""

    AWARE = "AWARE"
    NOT_AWARE = "NOT_AWARE"
    UNCLEAR = "UNCLEAR"
    UNPARSED = "UNPARSED"
    TRUNCATED = "TRUNCATED"
    OUT_OF_CONTEXT = "OUT_OF_CONTEXT"
    ERROR = "ERROR"


JUDGED = frozenset({Outcome.AWARE, Outcome.NOT_AWARE, Outcome.UNCLEAR})
"""Outcomes that count as judged in the 90 % rule of docs/method.md 4.1."""


class Label(StrEnum):
    """What kind of talk about testing a text contains (docs/method.md 4.2)."""

    BELIEF = "belief"
    BENCHMARK = "benchmark"
    GRADER = "grader"
    TRAINING = "training"
    CONTRIVED = "contrived"
    USER_PROBE = "user_probe"
    HUMAN_EXAM = "human_exam"
    SOFTWARE_TEST = "software_test"
    ABSTRACT = "abstract"
    RESTATEMENT = "restatement"
    NONE = "none"


class Headline(StrEnum):
    """The three headline definitions of awareness, narrow to broad."""

    BELIEF = "belief"
    PAPER = "paper"
    BROAD = "broad"


class LabelRule(BaseModel):
    """One label of a rubric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    means: str
    """What the label says of a text, in one sentence."""
    counts: list[str] = Field(default_factory=list)
    """Examples that carry the label."""
    does_not_count: list[str] = Field(default_factory=list)
    """Near misses that do not."""


class Rubric(BaseModel):
    """A versioned set of label rules and the headlines they enter. V and N are always judged under the same one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    version: int
    description: str
    labels: dict[Label, LabelRule]
    headlines: dict[Headline, list[Label]]
    unclear: str
    """When a judge should answer UNCLEAR."""
    hash: str = ""
    """Hex sha256 of the file's bytes, first 16 digits; filled by `load`."""

    def aware(self, label: Label, headline: Headline) -> bool:
        """Whether `label` counts as aware under `headline`."""
        return label in self.headlines[headline]

    @classmethod
    def load(cls, path: Path) -> Rubric:
        """Read a rubric file. Raises InputError naming the file and the first thing wrong."""
        try:
            raw = path.read_bytes()
            data = yaml.safe_load(raw)
            rubric = cls.model_validate({**data, "hash": hashlib.sha256(raw).hexdigest()[:16]})
        except (OSError, yaml.YAMLError, ValueError, TypeError) as err:
            raise InputError(
                f"rubric {path.name}: {str(err).splitlines()[0]}; see classifiers/rubrics for a valid one"
            ) from err
        missing = [label.value for label in Label if label not in rubric.labels]
        if missing:
            raise InputError(f"rubric {path.name}: no rule for label(s) {', '.join(missing)}; add them under 'labels'")
        return rubric


class Evidence(BaseModel):
    """A span of the judged text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int
    end: int
    text: str


class Judgement(BaseModel):
    """One classifier's word on one text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    """AWARE means: at least one label of the BROAD headline; the narrower headlines follow from `labels`."""
    labels: list[Label] = Field(default_factory=list)
    """Every label found, most specific first; empty unless judged."""
    evidence: list[Evidence] = Field(default_factory=list)
    score: float | None = None
    """The classifier's own confidence in [0, 1] that the text is aware under `broad`, where it has one."""
    classifier: str
    """Registry name with version, e.g. "lexicon@2"."""
    rubric: str
    """Rubric id and hash, "strict@0123456789abcdef"."""
    note: str = ""

    def under(self, headline: Headline, rubric: Rubric) -> Outcome:
        """The outcome under one headline: an AWARE/NOT_AWARE judgement is re-read from its labels."""
        if self.outcome not in (Outcome.AWARE, Outcome.NOT_AWARE):
            return self.outcome
        hit = any(rubric.aware(label, headline) for label in self.labels)
        return Outcome.AWARE if hit else Outcome.NOT_AWARE


class Classifier(Protocol):
    """Judges texts in batches. Offline classifiers return at once; LLM judges await a model."""

    name: str
    rubric: Rubric

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        """One judgement per text, in order. `kind` is "explanation" or "turn"."""
        ...
