"""Where a report format is written: the file asked for, with the format's own ending."""

from __future__ import annotations

from pathlib import Path

from nla_eval.errors import InputError
from nla_eval.files import written

_ENDINGS = {".html", ".htm", ".json", ".md", ".txt", ".csv", ".parquet", ".svg", ".png", ".pdf"}
STEM = "report"


def beside(out: Path, ending: str) -> Path:
    """`out` with another ending: "report.html" and ".md" give "report.md". A folder gets a file "report"."""
    return out.with_suffix(ending) if out.suffix in _ENDINGS else out / f"{STEM}{ending}"


def write(path: Path, content: bytes) -> Path:
    """Write one file whole. Raises InputError if it cannot be written."""
    try:
        with written(path) as part:
            part.write_bytes(content)
    except OSError as err:
        raise InputError(
            f"cannot write the report to {path.name}: {err.strerror}; choose another place with --out"
        ) from err
    return path
