"""Renders readings as one Markdown table for the log viewer. Their text is hostile: it must not end a cell or a row."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..printable import visible
from ..readings import Lane, Reading, StopReason

_MARKS = {StopReason.TRUNCATED: " ✂", StopReason.ERROR: "", StopReason.CLOSED: "", StopReason.OUT_OF_CONTEXT: ""}


def cell(text: str, limit: int = 300) -> str:
    """`text` as the content of one table cell: one line, no Markdown, at most `limit` characters.

    Line breaks become " · ".
    """
    return inert(re.sub(r"\s*\n\s*", " · ", text.strip()), limit)


def inert(text: str, limit: int) -> str:
    """Hostile text as one line of Markdown that shows as itself in Inspect's viewer: no link, cite, code or table.

    Control and bidirectional characters become code points. HTML is not escaped: the viewer does it before it reads
    Markdown, and shows what was escaped twice as "&lt;".
    """
    flat = re.sub(r"\s+", " ", text).strip()
    if len(flat) > limit:
        flat = flat[: limit - 1] + "…"
    return re.sub(r"([\\`*_{}\[\]|~$#!])", r"\\\1", visible(flat))


def readings_table(readings: Sequence[Reading], facts: Mapping[str, str], advice: str = "") -> str:
    """The facts about the instrument, then one row per position and draw with one column per lane.

    "✂" marks an explanation that was cut at the token cap. It is never judged "not aware". `advice` says which lanes
    are absent, and what adds them.
    """
    lanes = [lane for lane in Lane if any(r.lane is lane for r in readings)]
    rows: dict[tuple[int, int], dict[Lane, Reading]] = defaultdict(dict)
    for reading in readings:
        rows[reading.position, reading.draw][reading.lane] = reading
    lines = [", ".join(f"{name} {cell(value)}" for name, value in facts.items() if value)]
    lines += [f"\n{cell(advice, 1000)}"] if advice else []
    lines += ["", _row(["position", "where", "token", *(lane.value for lane in lanes), "fve"])]
    lines.append(_row(["---:", "---", "---", *("---" for _ in lanes), "---:"]))
    for (position, _), by_lane in sorted(rows.items()):
        first = by_lane.get(Lane.MEASURED) or next(iter(by_lane.values()))
        fve = "" if first.fve_meannorm is None else f"{first.fve_meannorm:.2f}"
        texts = [_explanation(by_lane.get(lane)) for lane in lanes]
        lines.append(_row([str(position), _where(first), cell(first.token, 40), *texts, fve]))
    return "\n".join(lines)


def _explanation(reading: Reading | None) -> str:
    if reading is None:
        return ""
    if reading.error is not None:
        return f"({reading.stop.value}: {cell(reading.error)})"
    return cell(reading.explanation) + _MARKS[reading.stop]


def _where(reading: Reading) -> str:
    if reading.position < 0:
        return ""
    turn = f"turn {reading.turn + 1} " if reading.turn >= 0 else ""
    return turn + cell(reading.channel)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
