"""Start-up time of a command, against a process that only imports typer and rich."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from .figures import Figure, race

KEYS = ("cli_start_ratio", "suite_list_ratio")
_OTHER = "imports"
_WAYS = {
    _OTHER: ("-c", "import typer, rich"),
    "cli_start_ratio": ("-m", "nla_eval", "--help"),
    "suite_list_ratio": ("-m", "nla_eval", "suite", "list"),
}
_ROUNDS = 9


def measured() -> dict[str, Figure]:
    """Wall time of `--help` and of `suite list`, over the wall time of the imports in the same run."""
    rates = race({name: (partial(_run, arguments), 1) for name, arguments in _WAYS.items()}, _ROUNDS)
    seconds = {name: 1 / rate for name, rate in rates.items()}
    how = f"median of {_ROUNDS} processes each, in turns; the other: python -c 'import typer, rich'"
    return {key: Figure(seconds[key] / seconds[_OTHER], seconds[key], seconds[_OTHER], "s", how) for key in KEYS}


def _run(arguments: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
