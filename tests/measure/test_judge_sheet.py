"""A judgement sheet is seeded, never overwritten, and counted only when every verdict is one of the four."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nla_eval.errors import InputError
from nla_eval.measure.judge_sheet import TYPES, read_sheet, write_sheet
from tests.training.planted_reader import planted_rows

HELD = planted_rows([f"text {i}" for i in range(60)], [f"context {i} stop" for i in range(60)], per_conversation=3)
EXPLANATIONS = [f'about "things", {i}\nnext: a' for i in range(60)]


def filled(path: Path, verdicts: dict[str, list[str]]) -> Path:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for i, row in enumerate(rows):
            writer.writerow(row | {name: given[i % len(given)] for name, given in verdicts.items()})
    return path


def test_a_sheet_takes_every_conversation_before_any_twice_and_the_same_rows_again(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        assert write_sheet(tmp_path / name, "pack@1", HELD, EXPLANATIONS, seed=3, rows=20) == 20
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    rows = list(csv.DictReader((tmp_path / "a.csv").open(encoding="utf-8", newline="")))
    assert len({HELD.conversation[int(row["row"])] for row in rows}) == 20
    assert all(row["explanation"] == EXPLANATIONS[int(row["row"])] for row in rows)


def test_a_filled_sheet_is_counted_by_type(tmp_path: Path) -> None:
    write_sheet(tmp_path / "s.csv", "pack@1", HELD, EXPLANATIONS, seed=0, rows=40)
    truth = read_sheet(
        filled(tmp_path / "s.csv", {"theme": ["true"], "entity": ["True ", "false"], "detail": ["none", "unclear"]})
    )
    assert (truth.pack, truth.read) == ("pack@1", 40)
    assert truth.figures["theme"].value == 1.0
    assert truth.figures["entity"].value == 0.5
    assert truth.figures["entity"].interval == pytest.approx((0.3520, 0.6480), abs=1e-3)
    assert "detail" not in truth.figures
    assert truth.counts["detail"] == {"true": 0, "false": 0, "none": 20, "unclear": 20}


@pytest.mark.parametrize("verdict", ["", "yes"])
def test_a_verdict_that_is_missing_or_unknown_is_named_by_its_line(tmp_path: Path, verdict: str) -> None:
    write_sheet(tmp_path / "s.csv", "pack@1", HELD, EXPLANATIONS, seed=0, rows=5)
    given = {name: ["true"] for name in TYPES} | {"entity": ["true", verdict]}
    with pytest.raises(InputError, match=r"line 3.*under entity"):
        read_sheet(filled(tmp_path / "s.csv", given))


def test_a_sheet_with_judgements_is_never_overwritten(tmp_path: Path) -> None:
    write_sheet(tmp_path / "s.csv", "pack@1", HELD, EXPLANATIONS, seed=0, rows=5)
    with pytest.raises(InputError, match="may hold judgements"):
        write_sheet(tmp_path / "s.csv", "pack@1", HELD, EXPLANATIONS, seed=0, rows=5)


@pytest.mark.parametrize(("text", "says"), [("pack,theme\np,true\n", "no column 'entity'"), ("", "no rows")])
def test_another_file_is_not_taken_for_a_sheet(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        read_sheet(tmp_path / "s.csv")
