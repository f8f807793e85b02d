"""`nla-eval pack` measures, compares and converts packs, and reports a user error in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nla_eval.measure.judge_sheet import TYPES
from tests.commands.typed import typed
from tests.engines.tiny_pack import write_tiny_pack
from tests.measure.test_held_out import chats


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, str, str]:
    """(pack, target, file of chats), all tiny."""
    write_tiny_pack(tmp_path, adapter=True)
    return str(tmp_path / "pack"), str(tmp_path / "target"), str(chats(tmp_path / "chats.jsonl", 12))


def test_a_card_is_measured_kept_printed_and_judged(
    place: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, target, source = place
    record = str(tmp_path / "record.json")
    rows = ("--source", source, "--rows", "24", "--target", target, "--dtype", "float32")
    measure = ("--measure", *rows, "--only", "tasks", "--record", record, "--step", "7", "--write")
    assert typed(monkeypatch, "pack", "card", pack, *measure) == 0
    assert "What the explanation is worth" in capsys.readouterr().out
    assert typed(monkeypatch, "pack", "card", pack) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["record"]["held_out"]["rows"] == 24
    assert card["record"]["step"] == 7
    assert json.loads(Path(record).read_text()) == card["record"]
    sheet = tmp_path / "sheet.csv"
    assert typed(monkeypatch, "pack", "judge-sheet", str(sheet), "--pack", pack, *rows) == 0
    lines = list(csv.DictReader(sheet.open(encoding="utf-8", newline="")))
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(line | dict.fromkeys(TYPES, "true") for line in lines)
    assert typed(monkeypatch, "pack", "card", pack, "--judgements", str(sheet), "--write") == 0
    assert json.loads((Path(pack) / "card.json").read_text())["claims"]["read"] == 12
    assert "Claims about the context" in (Path(pack) / "CARD.md").read_text()


def test_two_packs_are_compared_on_the_same_rows(
    place: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, target, source = place
    merged = str(tmp_path / "merged")
    assert typed(monkeypatch, "pack", "merge", merged, "--pack", pack, "--target", target) == 0
    rows = ("--measure", "--source", source, "--rows", "24", "--target", target, "--dtype", "float32")
    assert typed(monkeypatch, "pack", "compare", pack, merged, *rows) == 0
    printed = capsys.readouterr().out
    assert "paired by row" in printed
    assert "masked_overlap_fve_meannorm" in printed
    assert "…" not in printed


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("card", "{pack}"), "has no card.json"),
        (("card", "{pack}", "--only", "tasks"), "add --measure"),
        (
            ("card", "{pack}", "--measure", "--only", "everything", "--target", "{target}"),
            "unknown section 'everything'",
        ),
        (("card", "{pack}", "--measure", "--source", "gone.jsonl", "--target", "{target}"), "no held-out source"),
        (
            ("card", "{pack}", "--measure", "--run", "{source}.d", "--target", "{target}"),
            "the folder of a training run",
        ),
        (("card", "{pack}", "--measure", "--rows", "1", "--target", "{target}"), "expected at least 2"),
        (("compare", "{pack}", "{pack}"), "compare with --measure"),
        (("compare", "{pack}", "nobody"), "no pack 'nobody'"),
        (("export", "{pack}", "--pack", "{pack}", "--target", "{target}"), "exists already"),
        (("export", "out", "--pack", "{pack}", "--format", "gguf"), "unknown format 'gguf'"),
        (("merge", "out", "--pack", "{pack}", "--dtype", "int3", "--target", "{target}"), "dtype is 'int3'"),
        (("import", "nowhere", "out", "--target", "{target}"), "no pack 'nowhere'"),
        (("curve", "gone.json"), "record gone.json"),
        (("verify", "{pack}", "--target", "{target}", "--dtype", "int3"), "dtype is 'int3'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    place: tuple[str, str, str],
    tmp_path: Path,
    args: tuple[str, ...],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pack, target, source = place
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    given = [a.format(pack=pack, target=target, source=source) for a in args]
    assert typed(monkeypatch, "pack", *given) == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
