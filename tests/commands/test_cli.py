"""The command reads files into a store, reports a user error in one line, and starts without slow imports."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nla_eval.models.pack import PACKS
from nla_eval.store.store import ReadingStore
from nla_eval.tally.gather import gather
from nla_eval.transcript import Arm
from tests import planted_task
from tests.commands.typed import typed
from tests.fakes import CUE, PlantedEngine


def chats(path: Path, count: int, cue: str = "") -> str:
    """A JSONL file of short chats with line 2 broken."""
    lines = [
        json.dumps(
            {
                "id": f"{path.stem}-{i}",
                "family": f"{path.stem}-family-{i % 3}",
                "messages": [
                    {"role": "user", "content": f"{cue} Tell me about city {i}, please."},
                    {"role": "assistant", "content": f"City {i} lies by the sea and has a long history of trade."},
                ],
            }
        )
        for i in range(count)
    ]
    lines.insert(1, '{"id": "broken", "messages": [')
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture(autouse=True)
def rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted engine's rates are not for the user's cache."""
    monkeypatch.setattr("nla_eval.pipeline.cost.cache_dir", lambda: tmp_path / "cache")


@pytest.fixture
def both(tmp_path: Path) -> tuple[str, str]:
    return chats(tmp_path / "asked.jsonl", 4, CUE), chats(tmp_path / "used.jsonl", 4)


def test_two_files_become_a_store_with_both_arms(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    out = str(tmp_path / "store")
    args = ("read", asked, "--deployment", used, "--out", out, "--engine", "planted", "--policy", "uniform_response(3)")
    assert typed(monkeypatch, *args) == 0
    printed = capsys.readouterr()
    assert "8 transcripts" in printed.out
    assert "24 positions: 24 measured + 12 donor = 36 readings" in printed.out
    assert "1 records left out, first: asked.jsonl line 2" in printed.err
    store = ReadingStore.open(out)
    assert store.complete
    assert store.readings()["lane"].value_counts().sort("lane").rows() == [("donor", 12), ("measured", 24)]
    assert set(store.transcripts()["arm"]) == {"evaluation", "deployment"}
    assert len(store.messages()) == 8
    planted_task.LAST_ENGINE.clear()
    assert typed(monkeypatch, *args) == 0
    assert "nothing to do (36 were already in the store)" in capsys.readouterr().out
    assert planted_task.LAST_ENGINE == []


def test_a_stopped_run_says_that_it_resumes(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    args = ("read", asked, "--deployment", used, "--out", str(tmp_path / "store"), "--engine", "planted")
    with monkeypatch.context() as patch:
        stopped = staticmethod(lambda settings, target, pack: PlantedEngine(stop_after=20))
        patch.setattr(planted_task.PlantedKind, "engine", stopped)
        assert typed(monkeypatch, *args) == 130
    assert "run the same command again to resume" in capsys.readouterr().err
    assert typed(monkeypatch, *args) == 0
    assert ReadingStore.open(str(tmp_path / "store")).complete


def test_a_store_alone_holds_what_a_report_needs(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, used = both
    out = str(tmp_path / "store")
    typed(monkeypatch, "read", asked, "--deployment", used, "--out", out, "--engine", "planted", "--limit", "3")
    found = gather([out, out])
    assert found.pack == "planted@1"
    assert found.transcripts.height == 6
    assert set(found.messages) == set(found.transcripts["transcript_digest"])
    assert found.readings.height == ReadingStore.open(out).readings().height
    assert found.notes == ()


def test_a_report_is_written_from_a_store(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    out, page = str(tmp_path / "store"), tmp_path / "page.html"
    typed(monkeypatch, "read", asked, "--deployment", used, "--out", out, "--engine", "planted")
    assert typed(monkeypatch, "report", out, "--out", str(page), "--classifier", "lexicon") == 0, capsys.readouterr()
    assert "asked" in page.read_text()
    first = page.read_bytes()
    assert typed(monkeypatch, "report", out, "--out", str(page), "--classifier", "lexicon") == 0
    assert page.read_bytes() == first


def test_a_plan_is_printed_and_nothing_is_loaded_or_written(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    out = str(tmp_path / "store")
    args = ("read", asked, "--deployment", used, "--out", out, "--engine", "planted", "--policy", "uniform_response(3)")
    planted_task.LAST_ENGINE.clear()
    assert typed(monkeypatch, *args, "--plan") == 0
    printed = capsys.readouterr().out
    assert "8 (4 deployment, 4 evaluation)" in printed
    assert "24 positions: 24 measured + 12 donor = 36 readings; 0 are there, 36 to draw" in printed
    assert "no run on this machine yet" in printed
    assert planted_task.LAST_ENGINE == []
    assert not Path(out).exists()
    assert typed(monkeypatch, *args) == 0
    assert typed(monkeypatch, *args, "--plan", "--draws", "2") == 0
    printed = capsys.readouterr().out
    assert "36 are there, 36 to draw" in printed
    assert "of this machine's last run" in printed
    assert typed(monkeypatch, *args, "--plan", "--seed", "9") == 2
    assert "made with seed 0" in capsys.readouterr().err


def test_a_pack_of_another_target_is_said_before_anything_about_transcripts(
    target_tokenizer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = tmp_path / "other"
    shutil.copytree(PACKS / "smollm2-135m-l20", pack)
    for meta in pack.glob("a?/nla_meta.yaml"):
        meta.write_text(re.sub("target_hash: .*", "target_hash: 0123456789abcdef", meta.read_text()))
    (tmp_path / "a.jsonl").write_text('{"messages": []}\n')
    args = ("read", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "store"), "--pack", str(pack))
    for more in ((), ("--plan",)):
        assert typed(monkeypatch, *args, *more) == 2
        told = capsys.readouterr().err
        assert "pack 'other' was trained on target" in told
        assert "(0123456789abcdef)" in told
        assert "usable transcript" not in told


def test_a_plan_counts_the_answers_that_are_still_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    name = "planted_unanswered"
    planted_task.planted_suite(name, Arm.EVALUATION, 6, answers_by="target", cue=True)
    args = ("read", name, "--out", str(tmp_path / "store"), "--engine", "planted", "--lanes", "measured")
    assert typed(monkeypatch, *args, "--plan") == 2
    told = capsys.readouterr().err
    assert f"{name}: not in this plan: 6 answers that the target has not written yet" in told
    assert f"nothing to plan yet: the target still has to write the answers of '{name}' (6 prompts)" in told
    assert "no transcripts to read" not in told
    assert typed(monkeypatch, *args, "--limit", "4") == 0
    planted_task.BATCHES.clear()
    capsys.readouterr()
    assert typed(monkeypatch, *args, "--plan") == 0
    printed = capsys.readouterr()
    assert f"{name}: not in this plan: 2 answers" in printed.err
    assert "4 (4 evaluation)" in printed.out
    assert planted_task.BATCHES == []


def test_scores_can_be_left_out_and_filled_in(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    out = str(tmp_path / "store")
    args = ("read", asked, "--deployment", used, "--out", out, "--engine", "planted", "--policy", "uniform_response(3)")
    assert typed(monkeypatch, *args, "--scores", "none") == 0
    assert ReadingStore.open(out).readings()["cos"].null_count() == 36
    capsys.readouterr()
    assert typed(monkeypatch, *args, "--scores", "missing") == 0
    assert "36 earlier readings scored" in capsys.readouterr().out
    assert ReadingStore.open(out).readings()["cos"].null_count() == 0


def test_a_store_is_compacted_by_command(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    out = str(tmp_path / "store")
    args = ("--deployment", used, "--out", out, "--engine", "planted", "--policy", "uniform_response(3)")
    typed(monkeypatch, "read", asked, *args, "--lanes", "measured")
    typed(monkeypatch, "read", asked, *args)
    before = ReadingStore.open(out).readings()
    capsys.readouterr()
    assert typed(monkeypatch, "store", "compact", out) == 0
    assert "readings: 2 parts -> 1, 36 rows merged, 0 duplicates left out" in capsys.readouterr().out
    assert ReadingStore.open(out).readings().equals(before)
    assert ReadingStore.open(out).complete


def test_a_disk_that_fills_up_is_one_line_and_the_same_command_goes_on(
    tmp_path: Path, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, used = both
    args = ("read", asked, "--deployment", used, "--out", str(tmp_path / "store"), "--engine", "planted")
    written: list[int] = []

    def filling(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("nla_eval.store.files.os.fsync", filling)
        assert typed(monkeypatch, *args) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nla-eval: ")]
    assert len(told) == 1
    assert "No space left on device; free some room and run the same command again" in told[0]
    planted_task.LAST_ENGINE.clear()
    assert typed(monkeypatch, *args) == 0
    assert planted_task.LAST_ENGINE[-1].captures == 0
    assert ReadingStore.open(str(tmp_path / "store")).complete


MISTAKES = {
    "no such file": (["read", "nowhere.jsonl", "--out", "s"], "neither a file nor a suite"),
    "unknown ending": (["read", "notes.txt", "--out", "s"], "no reader knows it"),
    "unknown lane": (["read", "chats.jsonl", "--out", "s", "--lanes", "measured,placebo"], "unknown lane 'placebo'"),
    "unknown arm": (["read", "chats.jsonl", "--out", "s", "--arm", "test"], "expected one of evaluation"),
    "unknown policy": (["read", "chats.jsonl", "--out", "s", "--policy", "some(3)"], "unknown position policy"),
    "unknown dtype": (["read", "chats.jsonl", "--out", "s", "--dtype", "int4"], "expected one of auto"),
    "unknown engine": (["read", "chats.jsonl", "--out", "s", "--engine", "abacus"], "unknown engine 'abacus'"),
    "unknown scores": (["read", "chats.jsonl", "--out", "s", "--scores", "some"], "expected one of new, none, missing"),
    "no such store": (["store", "compact", "nowhere"], "no store of readings at 'nowhere'"),
    "parts of nothing": (["store", "compact", "s", "--part-mib", "0"], "expected at least 1"),
    "unknown storage": (["read", "chats.jsonl", "--out", "s", "--activations", "int8"], "expected one of float32"),
    "no draws": (["read", "chats.jsonl", "--out", "s", "--draws", "0"], "at least 1"),
    "another plan": (["read", "chats.jsonl", "--out", "s", "--engine", "planted", "--seed", "9"], "made with seed 0"),
    "no store": (["report", "nowhere"], "no log or store"),
    "not a log": (["report", "broken.eval"], "cannot be read"),
    "an empty folder": (["report", "empty"], "neither a store nor .eval logs"),
    "unknown classifier": (["report", "s", "--classifier", "oracle"], "unknown classifier"),
    "no such pack": (["pack", "card", "nothing"], "no pack 'nothing'"),
    "a pack that is not there": (["pack", "verify", "nothing"], "no pack 'nothing'"),
    "no configuration": (["train", "nowhere.yaml"], "no training configuration"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chats(tmp_path / "chats.jsonl", 2)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.eval").write_bytes(b"not a zip")
    (tmp_path / "empty").mkdir()
    if what == "another plan":
        typed(monkeypatch, "read", "chats.jsonl", "--out", "s", "--engine", "planted", "--lanes", "measured")
        capsys.readouterr()
    args, says = MISTAKES[what]
    assert typed(monkeypatch, *args) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    told = [line for line in error.splitlines() if line.startswith("nla-eval: ")]
    assert len(told) == 1
    assert says in told[0]


def test_suites_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "suite", "list") == 0
    listed = capsys.readouterr().out
    lines = [line.split() for line in listed.splitlines() if not line.startswith(" ")]
    assert ["blackmail", "evaluation", "27"] in [words[:3] for words in lines]
    assert ["own_usage", "deployment", "as", "given"] in [words[:4] for words in lines]


def test_starting_the_command_imports_neither_torch_nor_inspect() -> None:
    heavy = ("torch", "transformers", "inspect_ai", "polars")
    code = f"import sys, nla_eval.commands.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
