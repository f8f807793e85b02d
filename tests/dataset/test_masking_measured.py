"""Recall and false masks of masking, on a labelled set written for it; docs/security.md prints the same numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from nla_eval.dataset.redact import redact

ROOT = Path(__file__).parents[2]
ROWS = [json.loads(line) for line in (ROOT / "tests" / "data" / "personal.jsonl").read_text().splitlines()]
_MASK = re.compile(r"\[(?:private key|password|email|key|ssn|iban|card|ip|phone)\]")


def masked(text: str, personal: list[str]) -> bool:
    """Whether every piece is gone whole, and nothing beside it."""
    for piece in personal:
        text = text.replace(piece, "\0")
    return _MASK.sub("\0", redact(_unmasked(text, personal)).text) == text


def _unmasked(text: str, personal: list[str]) -> str:
    parts = iter(personal)
    return re.sub("\0", lambda _: next(parts), text)


def measured() -> dict[str, tuple[int, int]]:
    """(masked, all) by kind; of "none": (falsely masked, all)."""
    hits, every = Counter[str](), Counter[str]()
    for row in ROWS:
        every[row["kind"]] += 1
        hits[row["kind"]] += masked(row["text"], row["personal"]) == (row["kind"] != "none")
    return {kind: (hits[kind], count) for kind, count in every.items()}


def table() -> str:
    found = measured()
    lines = ["| kind | masked whole |", "|---|---:|"]
    lines += [f"| {kind} | {hits} of {count} |" for kind, (hits, count) in found.items() if kind != "none"]
    hits, count = found["none"]
    return "\n".join([*lines, f"| ordinary text, masked by mistake | {hits} of {count} |"])


def test_the_page_prints_what_masking_measures() -> None:
    assert table() in (ROOT / "docs" / "security.md").read_text(), table()


def test_kinds_with_a_pattern_are_mostly_found_and_ordinary_text_mostly_kept() -> None:
    found = measured()
    patterned = [found[kind] for kind in ("email", "phone", "card", "iban", "ssn", "ip", "key")]
    assert sum(hits for hits, _ in patterned) >= 0.6 * sum(count for _, count in patterned)
    assert found["none"][0] <= 0.2 * found["none"][1]
