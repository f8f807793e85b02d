"""A request for held-out rows of a source. Imports no torch, so that a wrong source is reported before anything is
loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..sources import SOURCES


@dataclass(frozen=True)
class Request:
    """Source, number and split of held-out rows."""

    source: str = "sharegpt"
    """A registered source, a .jsonl or .eval file, or SOURCE:PATH."""
    rows: int = 256
    per_conversation: int = 4
    windows: int = 12
    max_tokens: int = 1024
    seed: int = 0
    bucket: int | None = None
    """Take only families whose hash modulo 10 is this, as training runs split them; None: all families."""

    @property
    def kind(self) -> str:
        """Name of the kind of text."""
        name, path = self.reader
        return name if path is None else path.stem if name == "jsonl" else f"{name} {path.stem}"

    @property
    def reader(self) -> tuple[str, Path | None]:
        """(registered source, path). Raises InputError if there is no such source."""
        name, colon, rest = self.source.partition(":")
        if colon and name in SOURCES:
            return name, Path(rest).expanduser()
        if self.source in SOURCES:
            return self.source, None
        path = Path(self.source).expanduser()
        suffixes = {".jsonl": "jsonl", ".eval": "inspect_log"}
        if path.exists() and path.suffix in suffixes:
            return suffixes[path.suffix], path
        raise InputError(
            f"no held-out source '{self.source}'; give a .jsonl or .eval file, SOURCE:PATH, or one of "
            f"{', '.join(SOURCES)}"
        )
