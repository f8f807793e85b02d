"""`nla-eval report --view-url`: a log's transcripts link to their samples, and nothing else changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import get_model

import nla_eval.pipeline.runtime as runtime_module
from nla_eval.awareness import awareness_task
from nla_eval.transcript import Arm
from tests.commands.typed import typed
from tests.planted_task import planted_suite


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one log, read by the planted engine, and the store beside it."""
    folder = tmp_path_factory.mktemp("viewed")
    runtime_module._RUNTIMES.clear()
    task = awareness_task(
        planted_suite("viewed_exam", Arm.EVALUATION, 2, cue=True), store=str(folder / "store"), lanes="measured",
        positions="stratified(3)", classifier={"classifier": "lexicon"},
    )  # fmt: skip
    model = get_model("nla/bytes", engine="planted", memoize=False)
    [log] = inspect_eval(task, model=model, log_dir=str(folder / "logs" / "sub"), display="none")
    assert log.status == "success", log.error
    return folder


def shown(page: Path) -> list[list[str]]:
    """What the page holds of every transcript's sample."""
    bodies = re.findall(
        r'<script type="application/json" id="b-(?!index)[^"]*">(.*?)</script>', page.read_text(), re.DOTALL
    )
    return [json.loads(body).get("inspect", []) for body in bodies]


def test_every_transcript_of_a_log_links_to_its_sample(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "r.html"
    asked = ("report", str(logs / "logs"), "--out", str(page))
    assert typed(monkeypatch, *asked) == 0
    plain = page.read_bytes()
    assert [len(found) for found in shown(page)] == [1, 1], "named, and no link without the option"
    assert b"http" not in b"".join(re.findall(rb'<script type="application/json".*?</script>', plain, re.DOTALL))
    assert typed(monkeypatch, *asked, "--view-url", "http://127.0.0.1:7575/") == 0
    for _, link in shown(page):
        assert re.fullmatch(r"http://127\.0\.0\.1:7575/#/logs/sub/[^/]+\.eval/samples/sample/[^/]+/1/", link)


def test_a_store_has_no_samples_and_the_report_says_so(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "r.html"
    asked = ("report", str(logs / "store"), "--out", str(page), "--view-url", "http://127.0.0.1:7575")
    assert typed(monkeypatch, *asked) == 0
    assert "no transcript links to inspect view" in capsys.readouterr().err
    assert {*map(len, shown(page))} == {0}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--view-url", "javascript:alert(1)"), "no http or https address"),
        (("--view-url", "http://127.0.0.1:7575", "--format", "json,md"), "add html"),
        (("--view-url", "http://127.0.0.1:7575", "--diff"), "leave --view-url out"),
    ],
)
def test_what_cannot_link_is_refused_in_one_line_before_anything_is_read(
    options: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert typed(monkeypatch, "report", str(tmp_path / "nowhere"), "--out", str(tmp_path / "r.html"), *options) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
