"""The summary of fuzzing: runs add up, and an edge is new only if no earlier run reached it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz import readers
from tests.fuzz.readers import Found, earlier, table

PRINTED = [
    (0.0, "#12\tINITED cov: 300 ft: 400 corp: 12/3Kb exec/s: 0 rss: 90Mb"),
    (2.0, "#90\tNEW    cov: 310 ft: 420 corp: 13/3Kb lim: 4 exec/s: 45"),
    (5.0, "#200\tNEW    cov: 310 ft: 431 corp: 14/3Kb lim: 4 exec/s: 40"),
    (8.0, "#256\tpulse  cov: 310 ft: 431 corp: 14/3Kb lim: 4 exec/s: 32"),
    (10.0, "stat::number_of_executed_units: 300"),
]


def after(lines: list[tuple[float, str]]) -> Found:
    found = Found("jsonl")
    for at, line in lines:
        found = found.noted(line, at)
    return found


def test_the_last_new_edge_counts_and_not_the_last_new_input() -> None:
    found = after(PRINTED)
    assert (found.runs, found.coverage, found.seconds, found.newest) == (300, 310, 10.0, 2.0)
    assert found.quiet == pytest.approx(0.8)


@pytest.mark.parametrize(("edges", "newest"), [(300, 2.0), (310, 2.0), (311, 12.0)])
def test_a_later_run_is_new_only_beyond_what_was_reached(edges: int, newest: float) -> None:
    later = after(
        [(0.0, "#1\tINITED cov: 290 ft: 1"), (2.0, f"#9\tNEW    cov: {edges} ft: 1"), (10.0, "#20\tpulse  cov: 1")]
    )
    both = after(PRINTED).then(later)
    assert (both.runs, both.seconds, both.newest) == (320, 20.0, newest)
    assert both.coverage == max(310, edges)


def test_runs_of_other_code_are_not_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CORPUS", tmp_path)
    record = {"code": "other", "found": {"reader": "jsonl", "runs": 7, "coverage": 9}}
    (tmp_path / "jsonl.json").write_text(json.dumps(record))
    assert earlier("jsonl") == Found("jsonl")
    (tmp_path / "jsonl.json").write_text(json.dumps({**record, "code": readers._code()}))
    assert earlier("jsonl") == Found("jsonl", runs=7, coverage=9)


def test_the_table_has_a_row_for_each_reader_and_the_shortest_quiet_time() -> None:
    lines = list(table([Found("a", 1000, 5, 60.0, 15.0, 57.0), Found("b", 1, 2, 60.0, 50.0, 63.0, 1)]))
    assert lines[2] == "| a | 1,000 | 5 | 60 | 57 | 15 | 75% | 0 |"
    assert lines[-1].strip() == "2.0 core-minutes; no reader reached anything new in its last 10 s"
