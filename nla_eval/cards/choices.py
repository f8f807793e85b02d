"""The part of a card that `nla-eval suite add` writes: where the transcripts lie, pinned, and how they are read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError

THRESHOLD = 0.8
"""Jaccard similarity of word triples from which two prompts are near-duplicates; as in Lee et al. 2022 (2107.06499)."""


class Branches(StrEnum):
    """What to read where one record holds a tree of conversations."""

    BEST = "best"
    """One: the best-ranked path, or the one the model was on last."""
    ALL = "all"
    """Every path from the root to a leaf, all of one family."""


class Answers(StrEnum):
    """Which answer to read where a record holds a preferred and a rejected one."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    BOTH = "both"
    """Two transcripts of one family."""


class Samples(StrEnum):
    """Which samples of an Inspect log to read."""

    COMPLETE = "complete"
    """Those that ended without an error and that their owner has not marked invalid."""
    ALL = "all"
    """All of them; what is wrong with one is in its metadata."""


class ReadingChoices(BaseModel):
    """What the reader is told: the part of `SourceOptions` that a card keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages_key: str | None = None
    """Where a record holds its messages, dotted."""
    id_key: str | None = None
    """Where it holds its id."""
    family_key: str | None = None
    """Where it holds its prompt family. Without it near-duplicates make the families."""
    outcome_key: str | None = None
    """Where it holds what the model did; for Inspect logs a scorer's name."""
    model_role: str | None = None
    """Inspect logs: the model role to read. Default: "target" where there is one, else "main"."""
    samples: Samples = Samples.COMPLETE
    """Inspect logs: complete (without errored and invalidated samples), or all."""
    roles: dict[str, str] = Field(default_factory=dict)
    """Further role names and what they mean, such as {tool_output: user}."""
    branches: Branches = Branches.BEST
    """Trees: the best path, or all."""
    answers: Answers = Answers.CHOSEN
    """Preference pairs: the chosen answer, the rejected one, or both."""
    prompts: bool = False
    """Take records without an answer: the target is to write it."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many transcripts, from the start."""
    max_record_mb: int = Field(default=32, ge=1)
    """A record of more megabytes is left out."""

    @classmethod
    def parse(cls, choices: dict[str, object]) -> ReadingChoices:
        """Raises InputError naming the first choice that is wrong."""
        try:
            return cls.model_validate(choices)
        except ValidationError as err:
            first = err.errors()[0]
            raise InputError(f"option '{'.'.join(map(str, first['loc']))}': {first['msg']}") from None


class SuiteData(BaseModel):
    """Where a suite's transcripts lie and how they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    """A path, relative to the card's folder or absolute, or `hf://owner/name@commit`."""
    reader: str
    """Name of the source that reads it."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the file; of a folder, over its files' names and hashes. Checked before every reading."""
    choices: ReadingChoices = ReadingChoices()
    near_duplicates: float | None = Field(default=THRESHOLD, gt=0, le=1)
    """Similarity from which prompts share a family; null where the families of the data are final."""
    redact: bool = False
    """Mask e-mail addresses, phone numbers, keys and the like before anything is stored."""

    @model_validator(mode="after")
    def _pinned(self) -> SuiteData:
        if self.sha256 is None and "@" not in self.place:
            raise ValueError("neither a sha256 nor a revision (hf://owner/name@commit) pins what is at 'place'")
        return self

    def where(self, folder: Path) -> Path | str:
        """The place, as a reader takes it.

        Args:
            folder: The card's.
        """
        return self.place if "://" in self.place else folder / self.place
