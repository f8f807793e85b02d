"""Which held-out rows to take of which source. Imports no torch: a wrong source is told before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..sources import SOURCES


@dataclass(frozen=True)
class Request:
    """Which held-out rows of a source."""

    source: str = "sharegpt"
    """A registered source, a .jsonl file, or SOURCE:PATH."""
    rows: int = 256
    per_conversation: int = 4
    windows: int = 12
    max_tokens: int = 1024
    seed: int = 0
    bucket: int | None = None
    """Take only families whose hash modulo 10 is this, the split of training runs; None takes all."""

    @property
    def kind(self) -> str:
        """Name of this kind of text."""
        name, path = self.reader
        return name if path is None else path.stem if name == "jsonl" else f"{name} {path.stem}"

    @property
    def reader(self) -> tuple[str, Path | None]:
        """(registered source, path). Raises InputError."""
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
