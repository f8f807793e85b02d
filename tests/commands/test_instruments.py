"""Power, validation, sensitivity and presets from end to end on a store of planted readings, as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nla_eval.judging.calibration import read_calibration
from nla_eval.pipeline.plan import Instrument, plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.store.conversations import kept
from nla_eval.store.store import ReadingStore
from nla_eval.tally.power import PowerTable
from nla_eval.tally.types_sensitivity import Axis, Conclusion, Sensitivity
from nla_eval.transcript import Arm
from nla_eval.validation.sample import read_sheet
from tests.commands.typed import typed
from tests.fakes import ByteTarget, PlantedEngine, TinyPack, chat, plain_scores

INSTRUMENT = Instrument(ByteTarget(), TinyPack())


def read(folder: Path, **options: str) -> str:
    """The path of a store of twelve aware chats and twelve ordinary ones."""
    plan = ReadingPlan(**{"preset": "paper", "positions": "uniform_response(4)", "lanes": "measured,donor", **options})
    chats = [chat(number, cue=True) for number in range(12)]
    chats += [chat(100 + number, Arm.DEPLOYMENT) for number in range(12)]
    chats = [c.model_copy(update={"family": f"{c.arm}-{i}"}) for i, c in enumerate(chats)]
    store = ReadingStore.create(str(folder), INSTRUMENT.identity(plan))
    planned = plan_run(kept(chats, store), INSTRUMENT, plan)
    read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
    return str(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return read(tmp_path_factory.mktemp("read") / "store")


def test_power_counts_what_was_read_and_takes_the_users_numbers_over_it(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "power", store, "--classifier", "lexicon", "--false-positive-rate", "0.01", "--json") == 0
    table = PowerTable.model_validate_json(capsys.readouterr().out)
    assert [(s.arm, s.families, s.transcripts, s.k) for s in table.suites] == [
        ("deployment", 12, 12, 4),
        ("evaluation", 12, 12, 4),
    ]
    assert {s.false_positive_rate for s in table.suites} == {0.01}
    assert all("false_positive_rate" not in s.measured for s in table.suites)
    assert typed(monkeypatch, "power") == 2
    assert "give" not in capsys.readouterr().out


def test_people_label_a_sheet_and_the_report_takes_the_calibration(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, key = tmp_path / "sheet.html", tmp_path / "sheet.key.json"
    words = ("validate", "sheet", store, "--classifier", "lexicon", "--out", str(page), "--size", "30")
    assert typed(monkeypatch, *words) == 0
    assert "Keep it from them" in capsys.readouterr().out
    sheet = read_sheet(key)
    assert all(item.id in page.read_text() for item in sheet.items)
    files = []
    for name in ("Ada", "Ben"):
        files.append(str(tmp_path / f"{name}.csv"))
        with open(files[-1], "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sheet", "labeller", "item", "kind", "label", "note"])
            for item in sheet.items:
                label = item.labels[0].value if item.labels else "none"
                writer.writerow([sheet.id, name, item.id, item.kind, label, ""])
    out = tmp_path / "calibration.json"
    assert typed(monkeypatch, "validate", "merge", *files, "--key", str(key), "--out", str(out)) == 0
    told = capsys.readouterr().out
    assert "Ada and Ben: one label for" in told
    assert "Krippendorff's alpha over labels: 1.00" in told
    assert {row.weighted.recall for row in read_calibration(out).rows} <= {1.0, None}
    report = ("report", store, "--out", str(tmp_path / "r.html"), "--calibration", str(out))
    assert typed(monkeypatch, *report, "--classifier", "lexicon") == 0
    assert "by Ada, Ben" in capsys.readouterr().out
    assert typed(monkeypatch, *words) == 2
    assert "exists" in capsys.readouterr().err


def test_a_calibration_of_another_judge_is_refused(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {
        "classifier": "other@9", "rubric": "strict@0", "labelled_by": ["Ada"], "made": "2026-11-30", "sheet": "x",
        "labelled": 1, "rows": [],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(other))
    words = ("report", store, "--classifier", "lexicon", "--calibration", str(tmp_path / "c.json"))
    assert typed(monkeypatch, *words, "--out", str(tmp_path / "r.html")) == 2
    assert "the calibration is of other@9 under strict@0" in capsys.readouterr().err


def test_a_report_names_the_preset_of_its_inputs_and_what_differs(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("report", store, "--classifier", "lexicon", "--out", str(tmp_path / "r.html"))
    assert typed(monkeypatch, *words) == 0
    told = capsys.readouterr().out
    assert "preset paper: 50 random response tokens" in told
    assert "positions uniform_response(4) instead of uniform_response(50)" in told
    assert "24 of 24 transcripts have fewer than 50 such positions" in told
    assert "lexicon@" in told.partition("judges, not an LLM grader")[0]
    assert typed(monkeypatch, *words, "--preset", "mythos5") == 0
    assert "preset mythos5" in capsys.readouterr().out
    assert typed(monkeypatch, *words, "--preset", "lax") == 2
    assert "--preset 'lax'; expected one of strict, paper, mythos5" in capsys.readouterr().err


def test_stores_read_in_two_ways_are_two_rows_of_the_sensitivity_page(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cold = read(tmp_path / "cold", temperature="0")
    words = ("sensitivity", store, cold, "--classifier", "lexicon")
    assert typed(monkeypatch, *words, "--json") == 0
    page = Sensitivity.model_validate_json(capsys.readouterr().out)
    [suite] = page.suites
    assert suite.base.conclusion is Conclusion.MORE
    [row] = [row for row in suite.rows if row.axis is Axis.TEMPERATURE]
    assert (row.setting, row.conclusion, row.flips) == ("temperature 0", Conclusion.MORE, False)
    assert page.base["temperature"] == "1"
    out = tmp_path / "page.md"
    assert typed(monkeypatch, *words, "--out", str(out)) == 0
    assert "| temperature | temperature 0 |" in out.read_text()
