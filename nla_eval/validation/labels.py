"""Label files: what one person said of the texts of a sheet, as the page saves it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..judgement import Label
from .page import UNCLEAR
from .sample import Sheet

COLUMNS = ("sheet", "labeller", "item", "kind", "label", "note")
_KNOWN = (*(label.value for label in Label), UNCLEAR)


@dataclass(frozen=True)
class Labels:
    """The labels of one person."""

    labeller: str
    of: Mapping[str, str]
    """A label's name, or "unclear", by item id. Items that the person left open are absent."""


def read_labels(path: Path, sheet: Sheet) -> Labels:
    """Read a label file.

    Raises:
        InputError: It cannot be read, is of another sheet, or has a missing column, an unknown item or label, two
            people, or one item twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise InputError(f"labels {path.name}: {err}; save them again from the page") from err
    if not rows:
        raise InputError(f"labels {path.name}: no rows; label at least one text and save again")
    if missing := [column for column in COLUMNS[:5] if column not in rows[0]]:
        raise InputError(f"labels {path.name}: no column '{missing[0]}'; keep the columns of the page's file")
    items = {item.id for item in sheet.items}
    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        where = f"labels {path.name} line {number}"
        if row["sheet"] != sheet.id:
            raise InputError(f"{where}: sheet '{row['sheet']}'; the key is of sheet '{sheet.id}'; give its own key")
        if row["item"] not in items:
            raise InputError(f"{where}: item '{row['item']}' is not on sheet '{sheet.id}'; save the labels again")
        if row["item"] in found:
            raise InputError(f"{where}: item '{row['item']}' has a label already; keep one line for each item")
        label = (row["label"] or "").strip().lower()
        if label not in _KNOWN:
            raise InputError(f"{where}: label '{label}'; expected one of {', '.join(_KNOWN)}")
        found[row["item"]] = label
    names = {(row["labeller"] or "").strip() for row in rows}
    if len(names) > 1 or "" in names:
        raise InputError(f"labels {path.name}: labellers {sorted(names)}; expected one name in the whole file")
    return Labels(names.pop(), found)


def agreed(people: Sequence[Labels]) -> tuple[dict[str, Label], int]:
    """The label that most people give each text, and the number of labelled texts without one.

    A text is unresolved where no label has more votes than any other, or where most call it unclear.
    """
    votes: dict[str, Counter[str]] = {}
    for person in people:
        for item, label in person.of.items():
            votes.setdefault(item, Counter())[label] += 1
    found: dict[str, Label] = {}
    for item, counts in votes.items():
        (label, most), *rest = counts.most_common(2)
        if label != UNCLEAR and (not rest or rest[0][1] < most):
            found[item] = Label(label)
    return found, len(votes) - len(found)
