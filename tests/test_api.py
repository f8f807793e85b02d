"""`import nla_eval` offers everything by name, whatever was imported before, and the examples run."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import nla_eval

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PUBLIC = [name for name in nla_eval.__all__ if not name.startswith("_")]
RUN_WHEN_IMPORTED = ("__main__",)
EXTRAS = ("ray", "vllm", "atheris", "inspect_scout")

EVERYTHING = f"""
import importlib, pkgutil, nla_eval
names = ["nla_eval"]
for found in pkgutil.walk_packages([nla_eval.__path__[0]], "nla_eval."):
    if found.name.rpartition(".")[2] not in {RUN_WHEN_IMPORTED!r}:
        try:
            importlib.import_module(found.name)
        except ImportError as err:
            assert (err.name or "").partition(".")[0] in {EXTRAS!r}, (found.name, err)
for name in nla_eval.__all__:
    thing = getattr(nla_eval, name)
    assert not inspect_module(thing), name
print("used", len(nla_eval.__all__))
"""


def test_every_public_name_is_there_after_every_submodule_was_imported() -> None:
    """A submodule of the same name would hide what is offered."""
    code = "from inspect import ismodule as inspect_module\n" + EVERYTHING
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"used {len(nla_eval.__all__)}")


def test_no_public_name_is_a_modules_name() -> None:
    assert {m.name for m in pkgutil.iter_modules([str(ROOT / "nla_eval")])} & set(nla_eval.__all__) == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(nla_eval, name)
    assert (inspect.getdoc(thing) or "").strip(), name


def test_the_package_alone_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "inspect_ai", "polars", "scipy", "sklearn", "numpy")
    code = f"import sys, nla_eval; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'tallly'; it offers .*make_tally.*write_report"):
        nla_eval.tallly  # noqa: B018


def test_dir_shows_what_is_offered() -> None:
    assert set(nla_eval.__all__) <= set(dir(nla_eval))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_at_most_thirty_lines(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 30


def chats(path: Path, count: int = 2) -> Path:
    words = "Please tell me how to store potatoes over the winter without losing many of them. " * 6
    rows = [
        {
            "id": f"c{n}",
            "messages": [{"role": "user", "content": f"{n}. {words}"}, {"role": "assistant", "content": words * 2}],
        }
        for n in range(count)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def run(example: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / f"{example}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.pack
@pytest.mark.slow
class TestTheExamplesRun:
    def test_own_chats(self, tmp_path: Path) -> None:
        told = run("own_chats", str(chats(tmp_path / "chats.jsonl")), str(tmp_path / "store"))
        assert "2 transcripts, 0 records left out" in told
        assert "explanation" in told

    def test_two_suites(self, tmp_path: Path) -> None:
        report = tmp_path / "report.html"
        told = run("two_suites", "capability_chat", "hard_negatives", str(tmp_path / "store"), str(report))
        assert "capability_chat evaluation 3" in told
        assert report.read_text().startswith("<!doctype html>")

    def test_one_activation(self) -> None:
        told = run("one_activation", "The committee met to discuss the budget for roads. " * 4 + "It was")
        assert float(told.rpartition(":")[2]) > 0.5
