"""`nla-eval suite list`: lists the suites from their cards alone. It imports neither Inspect nor a suite."""

from __future__ import annotations

import importlib.util
import re

from ..cards.listing import Listed, listed
from ..cards.needs import Needs
from ..printable import one_line


def run_list() -> None:
    """Print one line per suite, with its family rule below."""
    rows = [["suite", "arm", "transcripts", "last turn by", "available", "licence"]]
    rules = [""]
    for suite in listed():
        count = "as given" if suite.count is None else str(suite.count)
        cells = (suite.name, suite.arm, count, suite.answers_by, available(suite), suite.licence)
        rows.append([one_line(cell) for cell in cells])
        number = "" if suite.family_count is None else f"{suite.family_count}: "
        rules.append(f"    families: {number}{one_line(suite.families)}\n")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, rule in zip(rows, rules, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip(), rule, sep="\n", end="")


def available(suite: Listed) -> str:
    """Whether a suite can be read on this machine now; if not, what is missing."""
    if suite.data is not None and suite.needs is Needs.OFFLINE:
        return "offline" if suite.data.exists() else f"no: its data '{suite.data.name}' is missing"
    if suite.needs is Needs.PACKAGE:
        wanted = re.search(r"([\w.-]+)==", suite.install)
        here = wanted is None or importlib.util.find_spec(wanted[1].replace("-", "_")) is not None
        return "package" if here else suite.install
    return suite.needs.value
