"""Quiet by default, useful with -v, and a bug's report that holds nothing of what was read."""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nla_eval import errors
from nla_eval.commands import cli
from nla_eval.commands.diagnostics import report_of, talk
from tests.pipeline.test_reading import run

ROOT = Path(__file__).parents[2]
SECRET = "the user said a thing that nobody else may read"


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    log = logging.getLogger("nla_eval")
    before, level = list(log.handlers), log.level
    yield
    log.handlers[:], log.level = before, level


@pytest.mark.parametrize(
    ("verbose", "said", "unsaid"),
    [
        (0, (), ("planned", "wrote")),
        (1, ("0 of 420 planned readings", "weights loaded"), ("wrote",)),
        (2, ("wrote readings/",), ()),
    ],
)
def test_a_run_says_as_much_as_was_asked_for_and_quotes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbose: int, said: tuple[str, ...], unsaid: tuple[str, ...]
) -> None:
    talk(verbose)
    run(tmp_path)
    told = capsys.readouterr().err
    assert all(words in told for words in said)
    assert not any(words in told for words in (*unsaid, "capital of country"))


def _broken() -> None:
    held = SECRET
    try:
        raise KeyError(held)
    except KeyError as err:
        raise ValueError(f"cannot use {held}") from err


def test_a_bug_is_a_traceback_and_a_report_without_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path))
    monkeypatch.setattr(cli, "app", _broken)
    monkeypatch.setattr(sys, "argv", ["nla-eval", "read", "private-logs", f"--out={SECRET}", "--draws", SECRET])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    (path,) = (tmp_path / "bugs").glob("*.json")
    assert "this is a bug (ValueError)" in last
    assert str(path) in last
    text = path.read_text()
    assert SECRET not in text
    assert "private-logs" not in text
    assert str(ROOT) not in text
    found = json.loads(text)
    assert found["command"] == ["read", "--out", "--draws"]
    assert [each["type"] for each in found["bug"]] == ["ValueError", "KeyError"]
    assert "test_diagnostics.py" in found["bug"][0]["at"][-1]
    assert found["versions"]["nla_eval"]


def test_a_report_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cli, "app", _broken)
    with pytest.raises(SystemExit):
        cli.main()
    assert "could not be written" in capsys.readouterr().err


def test_a_cause_in_a_circle_ends() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert len(json.loads(report_of(one))["bug"]) == 2


def test_every_error_class_stands_on_the_page_with_its_mend() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    classes = [
        name for name, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__
    ]
    assert len(classes) > 5
    for name in classes:
        assert f"`{name}`" in page, name
