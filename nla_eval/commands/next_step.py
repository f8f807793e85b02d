"""Commands that a line on the terminal tells the user to type next: quoted, and able to run where they are printed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def next_step(program: str, *words: str) -> str:
    """The command as this user can type it in this folder.

    Args:
        program: "nla-eval" or "inspect". If another environment's program of that name comes first on the search path,
            or none does, it is named with the folder of this environment.
        words: Its arguments, unquoted.
    """
    return shlex.join([_findable(program), *words])


def _findable(program: str) -> str:
    ours, found = Path(sys.executable).parent / program, shutil.which(program)
    if not ours.exists() or (found is not None and Path(found).resolve() == ours.resolve()):
        return program
    near = os.path.relpath(ours)
    return str(ours) if near.startswith(os.pardir) else near
