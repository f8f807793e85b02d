"""Where commands print their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def wide_console() -> Console:
    """A console that never cuts a cell or breaks a line. By default rich assumes 80 columns for a pipe."""
    from rich.console import Console

    return Console(soft_wrap=True, width=200)
