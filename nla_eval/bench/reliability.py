"""docs/reliability.json and the page made from it: what faults, load, an hour of reading and fuzzing came to.

Each bench writes its own section; the others stay as they were, with their machine and day."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .crash_store import Compared

_DOCS = Path(__file__).parents[2] / "docs"
_CURVE_EVERY = 300
"""Seconds between the rounds that the page shows."""
RECORD, PAGE = _DOCS / "reliability.json", _DOCS / "reliability.md"


@dataclass(frozen=True)
class Situation:
    """What one kind of fault came to, over all its trials."""

    what: str
    trials: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    not_resumed: int = 0
    """Trials in which the fault was not told in one line, or the same command did not go on."""
    kept: float = 0.0
    """Readings in the store right after the fault, mean over the trials."""

    @classmethod
    def of(cls, what: str, trials: Iterable[Compared]) -> Situation:
        """Add up trials."""
        found = list(trials)
        return cls(
            what,
            len(found),
            sum(one.lost for one in found),
            sum(one.duplicated for one in found),
            sum(one.wrong for one in found),
            sum(not one.resumed for one in found),
            round(sum(one.kept for one in found) / max(len(found), 1), 1),
        )

    @property
    def held(self) -> bool:
        """Whether nothing was lost, made twice or changed, and every run went on."""
        return not (self.lost or self.duplicated or self.wrong or self.not_resumed)


def lines(found: Sequence[Situation]) -> list[str]:
    """The table of faults, as lines of Markdown."""
    head = [
        "| fault | trials | kept | lost | made twice | changed | not resumed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    rows = [
        f"| {s.what} | {s.trials} | {s.kept:,.0f} | {s.lost} | {s.duplicated} | {s.wrong} | {s.not_resumed} |"
        for s in found
    ]
    return head + rows


def keep_crashes(found: Sequence[Situation], seed: int) -> None:
    """Write situations into record and page, in the place of their earlier figures."""
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    rows = {row["what"]: row for row in record.get("crashes", {}).get("situations", ())}
    rows |= {one.what: asdict(one) for one in found}
    keep("crashes", {"seed": seed, "situations": list(rows.values())})


def keep_load(content: dict[str, Any]) -> None:
    """Write sizes and other loads into record and page, in the place of their earlier figures."""
    before = json.loads(RECORD.read_text()).get("load", {}) if RECORD.is_file() else {}
    sizes = {row["transcripts"]: row for row in [*before.get("sizes", ()), *content["sizes"]]}
    keep("load", {
        "sizes": [sizes[count] for count in sorted(sizes)], "others": before.get("others", {}) | content["others"]
    })  # fmt: skip


def keep(section: str, content: dict[str, Any]) -> None:
    """Write one section of the record, with its day and machine, and make the page again."""
    from .__main__ import machine

    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    record[section] = {"day": time.strftime("%Y-%m-%d"), "machine": machine()["processor"], **content}
    RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n")
    PAGE.write_text(into_page(PAGE.read_text(), record))


def into_page(page: str, record: dict[str, Any]) -> str:
    """`page` with the table of every section replaced. Raises InputError if a place for one is missing."""
    for section, table in SECTIONS.items():
        begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
        place = re.search(f"{re.escape(begin)}.*?{re.escape(end)}", page, re.DOTALL)
        if place is None:
            raise InputError(f"docs/reliability.md has no place for '{section}'; expected '{begin}' and '{end}'")
        found = record.get(section)
        text = "Not measured yet." if found is None else "\n".join([*table(found), "", _where(found)])
        page = page[: place.start()] + f"{begin}\n{text}\n{end}" + page[place.end() :]
    return page


def _where(found: dict[str, Any]) -> str:
    return f"Measured on {found['day']}, {found['machine']}."


def _crashes(found: dict[str, Any]) -> list[str]:
    return lines([Situation(**row) for row in found["situations"]])


def load_lines(found: dict[str, Any]) -> list[str]:
    """The tables of load, as lines of Markdown."""
    head = [
        "| transcripts | CPU ms each | of it plan | read | report | against the first | wall clock | peak memory |",
        f"|---:|{'---:|' * 7}",
    ]
    rows = []
    for row in found["sizes"]:
        plan, read, report = (1000 * row[stage] / row["transcripts"] for stage in ("plan", "read", "report"))
        against = row["each"] / found["sizes"][0]["each"] - 1
        rows.append(
            f"| {row['transcripts']:,} | {row['each']:.2f} | {plan:.2f} | {read:.2f} | {report:.2f} | {against:+.0%} | "
            f"{row['seconds']:,.0f} s | {row['peak']:,.0f} MB |"
        )
    beside = [f"| {what} | {one['found']} | {one['peak']:,.0f} MB |" for what, one in found["others"].items()]
    return [
        *head,
        *rows,
        *(["", "| load | what became of it | peak memory |", "|---|---|---:|", *beside] if beside else []),
    ]


def soak_lines(found: dict[str, Any]) -> list[str]:
    """The curve of memory, one round about every five minutes, and its slope, as lines of Markdown."""
    curve = found["curve"]
    shown = [next(r for r in curve if r["seconds"] >= s) for s in range(0, int(curve[-1]["seconds"]) + 1, _CURVE_EVERY)]
    minutes = " | ".join(f"{round(r['seconds'] / 60)}" for r in shown)
    held = " | ".join(f"{r['resident']:,.0f}" for r in shown)
    return [
        f"| minute | {minutes} |",
        f"|---|{'---:|' * len(shown)}",
        f"| memory held, MB | {held} |",
        "",
        f"{len(curve):,} rounds of {found['each']} transcripts; {found['slope']:+.1f} MB an hour after the first ten "
        f"minutes; peak {found['peak']:,.0f} MB.",
    ]


def _fuzz(found: dict[str, Any]) -> list[str]:
    head = ["| target | may raise | runs | edges | core-seconds | quiet | crashes |", f"|---|---|{'---:|' * 5}"]
    rows = [
        f"| {r['target']} | {r['raises']} | {r['runs']:,} | {r['edges']:,} | {r['core_seconds']:,} | "
        f"{r['quiet_seconds']:,} | {r['crashes']} |"
        for r in found["targets"]
    ]
    total = sum(r["core_seconds"] for r in found["targets"])
    crashes = sum(r["crashes"] for r in found["targets"])
    return [*head, *rows, "", f"{total / 60:.0f} core-minutes in all, {crashes} crashes."]


SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "crashes": _crashes, "load": load_lines, "soak": soak_lines, "fuzz": _fuzz
}  # fmt: skip
"""The tables of each section, made from what the record has of it."""
