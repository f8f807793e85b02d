"""A measurement in a process of its own: peaks of memory only grow, so one process has one to tell."""

from __future__ import annotations

import json
import subprocess
import sys


def measured_apart(module: str, *arguments: str) -> dict[str, float]:
    """What `python -m module arguments` prints last: one JSON object of numbers."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
