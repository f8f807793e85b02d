"""Files of a run or a pack are written beside their place and renamed into it, so that a stopped run or a full disk
leaves the old file or none, never half of one. Folders are written whole in the same way."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from .errors import InputError, NlaEvalError


@contextmanager
def written(out: Path) -> Iterator[Path]:
    """A path to write to, which becomes `out` when the block ends without an error.

    Raises:
        NlaEvalError: The disk is full; what was begun is deleted.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    try:
        yield part
        part.replace(out)
    except BaseException as err:
        part.unlink(missing_ok=True)
        if _is_full(err):
            raise NlaEvalError(
                f"no space left for {out.name} in {out.parent.name}; free some and run it again"
            ) from err
        raise


def _is_full(err: BaseException) -> bool:
    """Whether `err` is the operating system's "no space left", which safetensors and polars report in words only."""
    return getattr(err, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(err)


def write_frame(frame: pl.DataFrame, out: Path) -> pl.DataFrame:
    """Write `frame` as parquet and return it."""
    with written(out) as part:
        frame.write_parquet(part)
    return frame


def write_text(text: str, out: Path) -> None:
    """Write a text file in UTF-8."""
    with written(out) as part:
        part.write_text(text, encoding="utf-8")


def new_folder(path: Path) -> Path:
    """`path` where nothing is there yet. Raises InputError where something is."""
    if path.exists():
        raise InputError(f"'{path}' exists already; name another folder, or remove it")
    return path


@contextmanager
def whole_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `final`; it takes that name when the block ends without an error.

    Args:
        final: The folder to be made.
        replace: Whether an existing one gives way, at the last moment.

    Raises:
        InputError: `final` exists and is not to be replaced, or its parent cannot be written.
    """
    if not replace:
        new_folder(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}-"))
    except OSError as err:
        raise InputError(f"cannot write beside '{final}': {err.strerror}; name another folder") from err
    made = scratch / final.name
    made.mkdir()
    try:
        yield made
        if final.exists():
            final.rename(scratch / "replaced")
        os.replace(made, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
