"""A suite made of data somebody already has: where its transcripts lie, pinned, and how they are read.

This is the part of a suite's card that `nla-eval suite add` writes. From it alone the transcripts come back: the same
reader, the same options, checked against the hash that was pinned. It knows no task and no target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from ..sources import SOURCES, Answers, Branches, Place, Samples, Skipped, SourceOptions, files_below
from ..transcript import Arm, Transcript
from .families import THRESHOLD, Families, families_of
from .redact import redact_messages

_CHUNK = 1 << 20


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

    def source_options(self, suite: str, arm: Arm, licence: str = "unknown") -> SourceOptions:
        """The options of a reader."""
        chosen = {name: getattr(self, name) for name in ReadingChoices.model_fields}
        return SourceOptions(suite=suite, arm=arm, licence=licence, **chosen)


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

    def where(self, folder: Path) -> Place:
        """The place, as a reader takes it.

        Args:
            folder: The card's.
        """
        return self.place if "://" in self.place else folder / self.place


def content_hash(path: Path) -> str:
    """Hex sha256 of a file; of a folder, over the names and hashes of its files."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in files_below(path):
            line = f"{file.relative_to(path).as_posix()} {content_hash(file)}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def transcripts_of(data: SuiteData, folder: Path, options: SourceOptions) -> Iterator[Transcript]:
    """A card's transcripts, masked and with their final families, in the order of the data.

    Where near-duplicates make the families the data is read twice: once for the families, once for the transcripts.

    Args:
        data: Of the card.
        folder: The card's.
        options: `ReadingChoices.source_options` of the card.

    Raises:
        InputError: the data is not there, or not what was pinned.
    """
    where = data.where(folder)
    if isinstance(where, Path):
        _expect_pinned(where, data, options.suite)
    found: Families | None = None
    if data.near_duplicates is not None:
        found = families_of(_read(data, where, options), data.near_duplicates)
    for transcript in _read(data, where, options):
        yield _final(transcript, found, masked=data.redact)


def _final(transcript: Transcript, families: Families | None, *, masked: bool) -> Transcript:
    """A transcript with its final family and, where asked for, its personal data masked."""
    changes: dict[str, object] = {} if families is None else {"family": families.of(transcript)}
    if masked:
        messages, counts = redact_messages(transcript.messages)
        changes |= {"messages": messages, "metadata": {**transcript.metadata, "masked": str(sum(counts.values()))}}
    return transcript.model_copy(update=changes) if changes else transcript


def _read(data: SuiteData, where: Place, options: SourceOptions) -> Iterator[Transcript]:
    source = SOURCES.get(data.reader)
    return (item for item in source(where, options) if not isinstance(item, Skipped))


def _expect_pinned(path: Path, data: SuiteData, suite: str) -> None:
    if not path.exists():
        raise InputError(f"suite '{suite}': its data '{path.name}' is not there; expected at {data.place} of its card")
    if data.sha256 is not None and (now := content_hash(path)) != data.sha256:
        raise InputError(
            f"suite '{suite}': '{path.name}' has changed: sha256 {now[:12]}, pinned {data.sha256[:12]}; "
            f"restore it, or pin it anew: nla-eval suite add --force"
        )
