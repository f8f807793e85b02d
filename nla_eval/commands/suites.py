"""`nla-eval suite list`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..suite import get_suite, suite_names


def run() -> None:
    """Print a table of the suites."""
    table = Table("suite", "arm", "transcripts", "last turn by", "licence", "needs", box=None, pad_edge=False)
    for name in suite_names():
        card = get_suite(name).card
        table.add_row(name, card.arm, str(card.count), card.answers_by, card.licence, card.install or card.needs)
    Console(soft_wrap=True).print(table)
