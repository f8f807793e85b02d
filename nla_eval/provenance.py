"""Facts for the provenance of an artefact: software versions and the command. Imports none of the packages it names."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("nla_eval", "torch", "transformers", "peft", "inspect_ai", "polars", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of Python and of each package that can change a number; "absent" if a package is not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def command() -> str:
    """The command line that started this process."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    return " ".join([name, *map(shlex.quote, sys.argv[1:])])
