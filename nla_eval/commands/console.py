"""Where commands print their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def wide_console() -> Console:
    """One that cuts no cell and breaks no line: rich takes a pipe for 80 columns."""
    from rich.console import Console

    return Console(soft_wrap=True, width=200)
