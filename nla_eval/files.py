"""Atomic writes: a file or folder is written under a temporary name beside its final path and then renamed.

A stopped run or a full disk leaves the old file or none, never half of one."""

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
    """Yield a temporary path, which is renamed to `out` if the block ends without an error.

    Raises:
        NlaEvalError: The disk is full. The temporary file is deleted.
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
                f"no space left for {out.name} in {out.parent.name}; free some space and run the command again"
            ) from err
        raise


def _is_full(err: BaseException) -> bool:
    """Whether `err` says that the disk is full. safetensors and polars say so only in the text of the error."""
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
    """Return `path` if it does not exist. Raises InputError if it does."""
    if path.exists():
        raise InputError(f"'{path}' exists already; name another folder, or remove it")
    return path


@contextmanager
def whole_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `final`, which is renamed to `final` if the block ends without an error.

    Args:
        final: The folder to make.
        replace: Whether to replace an existing folder; it is kept until the new one is complete.

    Raises:
        InputError: `final` exists and `replace` is false, or its parent is not writable.
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
