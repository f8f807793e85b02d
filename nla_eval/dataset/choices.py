"""Reads the transcripts of a suite made from existing data: as its card says, checked against the pinned hash. It knows
no task and no target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ..cards.arm import Arm
from ..cards.choices import ReadingChoices as ReadingChoices
from ..cards.choices import SuiteData as SuiteData
from ..errors import InputError
from ..sources import SOURCES, Place, Skipped, SourceOptions, files_below
from ..transcript import Transcript
from .families import Families, families_of
from .redact import redact_messages

_CHUNK = 1 << 20


def source_options(choices: ReadingChoices, suite: str, arm: Arm, licence: str = "unknown") -> SourceOptions:
    """Reader options from the choices in a card or command."""
    chosen = {name: getattr(choices, name) for name in ReadingChoices.model_fields}
    return SourceOptions(suite=suite, arm=arm, licence=licence, **chosen)


def content_hash(path: Path) -> str:
    """Hex sha256 of a file. For a folder: of the names and hashes of its files."""
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

    If near-duplicates share a family, the data is read twice: once for the families, once for the transcripts.

    Args:
        data: The card's data section.
        folder: The card's folder.
        options: `source_options` of the card.

    Raises:
        InputError: The data is missing, or its hash is not the pinned one.
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
    """A transcript with its final family and, if `masked`, with personal data masked."""
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
            "restore it, or pin it anew with the command that made the suite and --force"
        )
