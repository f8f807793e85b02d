"""A new user's first steps: one arm alone is read, what is printed next can be typed, own suites are first class."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from nla_eval import suite as suites
from nla_eval.commands import next_step as next_steps
from nla_eval.commands.lane_advice import lacking_donors, with_donors
from nla_eval.commands.next_step import next_step
from nla_eval.store.store import ReadingStore
from nla_eval.tally.gather import gather
from nla_eval.transcript import Arm
from tests import planted_task
from tests.commands.test_cli import chats, rates  # noqa: F401  (a fixture that keeps rates apart)
from tests.commands.typed import typed
from tests.fakes import CUE

PLANTED = ("--engine", "planted", "--positions", "stratified(2)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    suites.suite_names()  # what registers while a copy stands in would be lost with it
    monkeypatch.setattr(suites, "_SUITES", dict(suites._SUITES))
    monkeypatch.setattr(next_steps, "_findable", lambda program: program)
    return tmp_path


def test_an_evaluation_alone_is_read_and_the_printed_command_adds_its_donors(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suites.suite_names()  # the shipped suites are registered, and then one of them is replaced
    planted_task.planted_suite("real_usage", Arm.DEPLOYMENT, 4)
    chats(folder / "asked.jsonl", 4, CUE)
    assert typed(monkeypatch, "read", "asked.jsonl", "--out", "store", *PLANTED) == 0
    printed = capsys.readouterr().out
    assert "lane donor: not read, because no transcript of the deployment arm is read in this run" in printed
    assert "Next: nla-eval report store\n" in printed
    store = ReadingStore.open("store")
    assert set(store.readings()["lane"]) == {"measured"}
    assert store.manifest is not None
    assert store.manifest.provenance["lanes_absent"] == "donor"
    told = next(line for line in printed.splitlines() if line.startswith("To read lane donor too: "))
    words = shlex.split(told.partition(": ")[2])
    assert words[:3] == ["nla-eval", "read", "real_usage"]
    assert typed(monkeypatch, *words[1:]) == 0
    assert "To read lane donor" not in capsys.readouterr().out
    lanes = ReadingStore.open("store").readings()["lane"].value_counts()
    assert dict(lanes.iter_rows()) == {"measured": 16, "donor": 8}


def test_a_plan_of_an_evaluation_alone_says_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chats(folder / "asked.jsonl", 4, CUE)
    assert typed(monkeypatch, "read", "asked.jsonl", "--out", "store", *PLANTED, "--plan") == 0
    words = shlex.join(["nla-eval", "read", "real_usage", "asked.jsonl", "--out", "store", *PLANTED])
    assert capsys.readouterr().out.splitlines()[-1] == f"To read lane donor too: {words}"


def test_a_plan_whose_answers_are_unwritten_does_not_call_its_donors_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(folder / "cache"))
    planted_task.planted_suite("unwritten", Arm.DEPLOYMENT, 2, answers_by="target")
    chats(folder / "asked.jsonl", 4, CUE)
    assert typed(monkeypatch, "read", "asked.jsonl", "unwritten", "--out", "store", *PLANTED, "--plan") == 0
    printed = capsys.readouterr().out
    assert "lane donor: not in this plan, because answers are still to be written" in printed
    assert "To read lane donor" not in printed


def test_a_report_without_donors_says_so_with_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chats(folder / "asked.jsonl", 2, CUE)
    typed(monkeypatch, "read", "asked.jsonl", "--out", "store", *PLANTED)
    (told,) = lacking_donors(gather(["store"]))
    assert told.startswith("the donor lane was not read for asked, so nothing shows its false positives. To add it: ")
    assert "nla-eval read real_usage asked.jsonl --out store" in told
    assert typed(monkeypatch, "report", "store", "--classifier", "lexicon") == 0
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ("nla-eval read blackmail --out s", "nla-eval read real_usage blackmail --out s"),
        ("python -m nla_eval read 'a b.jsonl' --out s --plan", "nla-eval read real_usage 'a b.jsonl' --out s"),
        ("nla-eval demo", ""),
        ("pytest 'unbalanced", ""),
        ("", ""),
    ],
)
def test_a_recorded_command_becomes_the_one_that_adds_donors(recorded: str, told: str, folder: Path) -> None:
    assert with_donors(recorded) == told


def test_a_program_outside_the_search_path_is_named_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / ".venv" / "bin" / "inspect"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert next_step("inspect", "view", "--log-dir", "a b") == ".venv/bin/inspect view --log-dir 'a b'"
    monkeypatch.setenv("PATH", str(program.parent))
    assert next_step("inspect", "view") == "inspect view"


def own_suite(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str, name: str = "my_chats") -> int:
    said = {"role": "assistant", "content": "It lies by the sea."}
    lines = [
        {"id": f"c{n}", "messages": [{"role": "user", "content": f"Tell me of city {n}."}, said]} for n in range(4)
    ]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = ("suite", "add", "mine.jsonl", "--name", name, "--arm", "deployment", "--licence", "CC0-1.0")
    return typed(monkeypatch, *words, *more)


def test_a_suite_of_the_current_folder_is_listed_read_and_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own_suite(folder, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "next: inspect eval suites/my_chats.py --model nla/smollm2-135m" in printed
    assert "nla-eval read my_chats --out store" in printed
    typed(monkeypatch, "suite", "list")
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("my_chats"))
    assert row[1:3] == ["deployment", "4"]
    assert typed(monkeypatch, "read", "my_chats", "--out", "store", *PLANTED) == 0
    assert set(ReadingStore.open("store").transcripts()["suite"]) == {"my_chats"}
    assert typed(monkeypatch, "report", "store", "--classifier", "lexicon") == 0
    assert "my_chats" in Path("report.html").read_text()


def test_reading_a_suite_of_the_current_folder_runs_no_code_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_suite(folder, monkeypatch)
    Path("suites/my_chats.py").write_text("raise SystemExit('it ran')")
    assert typed(monkeypatch, "read", "my_chats", "--out", "store", *PLANTED) == 0


def test_the_name_of_a_shipped_suite_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own_suite(folder, monkeypatch, name="blackmail") == 2
    assert "--name 'blackmail' is a shipped suite; choose another --name" in capsys.readouterr().err


def test_an_unknown_name_lists_the_suites_of_the_current_folder_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_suite(folder, monkeypatch)
    capsys.readouterr()
    assert typed(monkeypatch, "read", "my_chat", "--out", "store", *PLANTED) == 2
    assert "my_chats" in capsys.readouterr().err
