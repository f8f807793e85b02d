"""Writes a folder whole or not at all: into a folder of another name beside it, renamed at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def whole_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `final`; it takes that name when the block ends without an error.

    Args:
        final: The folder to be made.
        replace: Whether an existing one gives way, at the last moment.

    Raises:
        InputError: `final` exists and is not to be replaced, or its parent cannot be written.
    """
    if final.exists() and not replace:
        raise InputError(f"'{final}' exists already; name another folder, or remove it")
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
