"""Human judgement of the claims that explanations make about their contexts. Writes a seeded sheet to fill in, and
tallies a filled sheet with Wilson's interval for each type of claim.

A sheet is a CSV file with one explanation per row, from as many different conversations as possible. It contains text
of the transcripts: handle it with the same care. The annotator enters one of `VERDICTS` under each type."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import written
from .figures import Figure, proportion
from .held_out import HeldOut

TYPES = {
    "theme": "what the text is about, its genre or situation",
    "entity": "a name, number, quotation or word that is said to stand in the text",
    "detail": "who says what to whom, what was just said, what stands before the token",
}
"""Type of claim to its definition."""
VERDICTS = ("true", "false", "none", "unclear")
"""In order: all claims of the type hold; at least one does not; there is no claim; the annotator cannot tell."""
_COLUMNS = ("pack", "seed", "row", "context", "explanation", *TYPES, "note")
_CONTEXT = 1200
ROWS = 100


@dataclass(frozen=True)
class Truth:
    """Tally of a filled sheet."""

    pack: str
    figures: dict[str, Figure]
    """Type of claim to true / (true + false); a type with neither is left out."""
    counts: dict[str, dict[str, int]]
    """Type to verdict to number of rows."""
    read: int

    def as_dict(self) -> dict[str, Any]:
        """The card's `claims` entry."""
        return {
            "pack": self.pack,
            "read": self.read,
            "figures": {name: f.as_dict() for name, f in self.figures.items()},
            "counts": self.counts,
            "note": "true means that every claim of the type holds; Wilson's interval; none and unclear are counted",
        }


def write_sheet(path: Path, pack: str, held: HeldOut, explanations: Sequence[str], seed: int, rows: int = ROWS) -> int:
    """Write a sheet with empty verdicts and return its number of rows. Raises InputError if `path` exists."""
    if path.exists():
        raise InputError(f"'{path}' exists already and may hold judgements; name another file")
    chosen = _spread(held, rows, seed)
    with written(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="")
        writer.writeheader()
        for row in chosen:
            text = held.contexts[row]
            shown = ("…" if len(text) > _CONTEXT else "") + text[-_CONTEXT:]
            writer.writerow(
                {"pack": pack, "seed": seed, "row": row, "context": shown, "explanation": explanations[row]}
            )
    return len(chosen)


def read_sheet(path: Path) -> Truth:
    """Tally a filled sheet.

    Raises:
        InputError: A column is missing, or a verdict is missing or not one of `VERDICTS`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except OSError as err:
        raise InputError(
            f"judgements {path.name}: {err.strerror}; write a sheet with nla-eval pack judge-sheet"
        ) from err
    if not lines:
        raise InputError(f"judgements {path.name}: no rows; write a sheet with nla-eval pack judge-sheet")
    if missing := [c for c in ("pack", *TYPES) if c not in lines[0]]:
        raise InputError(f"judgements {path.name}: no column '{missing[0]}'; keep the columns of the sheet")
    if len({line["pack"] for line in lines}) > 1:
        raise InputError(f"judgements {path.name}: rows of several packs; keep one sheet for each")
    counts = {name: dict.fromkeys(VERDICTS, 0) for name in TYPES}
    for number, line in enumerate(lines, start=2):
        for name in TYPES:
            counts[name][_verdict(line[name], name, f"{path.name} line {number}")] += 1
    decided = {name: c["true"] + c["false"] for name, c in counts.items()}
    figures = {name: proportion(counts[name]["true"], n) for name, n in decided.items() if n}
    return Truth(lines[0]["pack"], figures, counts, len(lines))


def _verdict(cell: str | None, name: str, where: str) -> str:
    said = (cell or "").strip().lower()
    if said not in VERDICTS:
        raise InputError(f"judgements {where}: '{said}' under {name}; expected one of {', '.join(VERDICTS)}")
    return said


def _spread(held: HeldOut, rows: int, seed: int) -> list[int]:
    """`rows` row numbers in a seeded order. Every conversation comes once before any comes twice."""
    order = np.random.default_rng(seed).permutation(len(held)).tolist()
    taken: Counter[int] = Counter()
    turn = {}
    for row in order:
        conversation = int(held.conversation[row])
        turn[row] = taken[conversation]
        taken[conversation] += 1
    return sorted(order, key=lambda row: turn[row])[:rows]
