"""`nla-eval suite list`: the suites of the room, from their cards alone. It imports neither Inspect nor a suite."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from ..cards.card import Needs, SuiteCard, card_files
from ..printable import one_line


def run_list() -> None:
    """Print the suites: a line each, and its family rule below."""
    rows = [["suite", "arm", "transcripts", "last turn by", "available", "licence"]]
    rules = [""]
    for file in card_files().values():
        card = SuiteCard.load(file)
        count = "as given" if card.count is None else str(card.count)
        cells = (card.name, card.arm, count, card.answers_by, available(card, file.parent), card.licence)
        rows.append([one_line(cell) for cell in cells])
        number = "" if card.family_count is None else f"{card.family_count}: "
        rules.append(f"    families: {number}{one_line(card.families)}\n")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, rule in zip(rows, rules, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip(), rule, sep="\n", end="")


def available(card: SuiteCard, folder: Path) -> str:
    """Whether a suite can be read here and now, and else what it takes.

    Args:
        card: The suite's.
        folder: The card's.
    """
    if card.data is not None and card.needs is Needs.OFFLINE:
        return "offline" if Path(card.data.where(folder)).exists() else f"no: '{card.data.place}' is not there"
    if card.needs is Needs.PACKAGE:
        wanted = re.search(r"([\w.-]+)==", card.install)
        here = wanted is None or importlib.util.find_spec(wanted[1].replace("-", "_")) is not None
        return "package" if here else card.install
    return card.needs.value
