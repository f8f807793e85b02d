"""The part of a card that `nla-eval suite add` writes: the pinned location of the transcripts and how to read them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError

THRESHOLD = 0.8
"""Two prompts are near-duplicates if the Jaccard similarity of their word triples is at least this much; as in Lee et
al. 2022 (2107.06499)."""


class Branches(StrEnum):
    """Which paths to read if a record holds a tree of conversations."""

    BEST = "best"
    """One path: the best-ranked one, or the one the model was on last."""
    ALL = "all"
    """Every path from the root to a leaf; all paths share one family."""


class Answers(StrEnum):
    """Which answer to read where a record holds a preferred and a rejected one."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    BOTH = "both"
    """Two transcripts of one family."""


class Samples(StrEnum):
    """Which samples of an Inspect log to read."""

    COMPLETE = "complete"
    """Samples that ended without an error and are not marked invalid."""
    ALL = "all"
    """Every sample; its metadata says if it failed or is invalid."""


class ReadingChoices(BaseModel):
    """Options of the reader: the part of `SourceOptions` that a card keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages_key: str | None = None
    """Dotted path to the messages of a record."""
    id_key: str | None = None
    """Dotted path to its id."""
    family_key: str | None = None
    """Dotted path to its prompt family. If None, near-duplicate prompts form the families."""
    outcome_key: str | None = None
    """Dotted path to what the model did; for Inspect logs the name of a scorer."""
    model_role: str | None = None
    """Inspect logs: the model role to read. Default: "target" if the log has it, else "main"."""
    samples: Samples = Samples.COMPLETE
    """Inspect logs: complete (no errored or invalidated samples), or all."""
    roles: dict[str, str] = Field(default_factory=dict)
    """Extra role names and the role each stands for, such as {tool_output: user}."""
    branches: Branches = Branches.BEST
    """Trees of conversations: read the best path, or all paths."""
    answers: Answers = Answers.CHOSEN
    """Preference pairs: the chosen answer, the rejected one, or both."""
    prompts: bool = False
    """Accept records without an answer; the target writes it."""
    limit: int | None = Field(default=None, ge=1)
    """Read at most this many transcripts, from the start."""
    max_record_mb: int = Field(default=32, ge=1)
    """Skip records larger than this many megabytes."""

    @classmethod
    def parse(cls, choices: dict[str, object]) -> ReadingChoices:
        """Check options given by name. Raises InputError for the first one that is wrong."""
        try:
            return cls.model_validate(choices)
        except ValidationError as err:
            first = err.errors()[0]
            raise InputError(f"option '{'.'.join(map(str, first['loc']))}': {first['msg']}") from None


class SuiteData(BaseModel):
    """Where a suite's transcripts are stored and how to read them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    """An absolute path, a path relative to the card's folder, or `hf://owner/name@commit`."""
    reader: str
    """Registry name of the source that reads it."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Hash of the file; for a folder, hash over its files' names and hashes. Checked before every reading."""
    choices: ReadingChoices = ReadingChoices()
    near_duplicates: float | None = Field(default=THRESHOLD, gt=0, le=1)
    """Prompts at least this similar share a family; None keeps the families that the data gives."""
    redact: bool = False
    """Mask e-mail addresses, phone numbers, keys and similar strings before anything is stored."""

    @model_validator(mode="after")
    def _pinned(self) -> SuiteData:
        if self.sha256 is None and "@" not in self.place:
            raise ValueError("'place' is not pinned; add its sha256, or a revision as in hf://owner/name@commit")
        return self

    def where(self, folder: Path) -> Path | str:
        """The location to give the reader.

        Args:
            folder: Folder of the card.
        """
        return self.place if "://" in self.place else folder / self.place
