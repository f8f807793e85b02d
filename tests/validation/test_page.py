"""The labelling page is one file, blind, and inert whatever a text holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nla_eval.judgement import Label, Outcome
from nla_eval.judging.classify import load_rubric
from nla_eval.validation.page import UNCLEAR, page_html
from nla_eval.validation.population import JudgedText
from nla_eval.validation.sample import draw_sheet

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "{title} \u2028\u202e <!-- \x00 ' \" & \ud800"
)
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


@pytest.fixture(scope="module")
def page() -> str:
    texts = [
        JudgedText(
            kind, f"{kind} {i} {HOSTILE}", Outcome.AWARE, (Label.BELIEF,), 0.987654, "donor", "monitor", "planted"
        )
        for kind in ("explanation", "turn")
        for i in range(6)
    ]
    sheet = draw_sheet(texts, "planted-judge@7", "strict@0", [], 12, 0)
    return page_html(sheet, {t.id: t.text for t in texts}, load_rubric())


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        self.inside.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[self._open][-1] += data

    def data(self) -> dict:
        return json.loads(self.inside["script"][0])


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(page: str) -> None:
    found = _Tags(page)
    policy = next(a["content"] for t, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    hashes = {
        kind: base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        for kind, content in (("style-src", found.inside["style"][0]), ("script-src", found.inside["script"][1]))
    }
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules == {
        **{name: f"'sha256-{digest}'" for name, digest in hashes.items()},
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_it_loads_nothing_and_has_no_inline_handler_or_style(page: str) -> None:
    for _, attributes in _Tags(page).tags:
        assert not {"src", "href", "style", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert "innerHTML" not in page
    assert "eval(" not in page


def test_hostile_texts_stay_in_the_data_block_as_they_are(page: str) -> None:
    found = _Tags(page)
    assert [t for t, _ in found.tags].count("script") == 2
    assert not any(t == "img" for t, _ in found.tags)
    texts = [item["text"] for item in found.data()["items"]]
    assert all(text.endswith(HOSTILE) for text in texts)
    assert page.isascii()


def test_it_shows_no_verdict_and_no_origin(page: str) -> None:
    items = _Tags(page).data()["items"]
    assert {key for item in items for key in item} == {"id", "kind", "text"}
    assert not re.search(r"AWARE|0\.98|donor|monitor|planted-judge|weight|stratum", page)


def test_every_label_has_its_rule_beside_it_and_a_key_of_its_own(page: str) -> None:
    labels = _Tags(page).data()["labels"]
    rubric = load_rubric()
    assert {label["name"] for label in labels} == {*(label.value for label in Label), UNCLEAR}
    assert len({label["key"] for label in labels}) == len(labels)
    assert all(label["means"] == rubric.labels[Label(label["name"])].means for label in labels[:-1])


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
def test_it_runs_from_disk_with_the_network_off(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "page.html").as_uri()),
    ]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert re.search(r"<title>0/12 labelled, sheet \w{12}</title>", dumped)
    assert dumped.count('aria-pressed="false"') == len(Label) + 1
    assert "&lt;script&gt;document.title='owned'" in dumped
    assert "<img" not in dumped


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node on the PATH")
def test_its_script_is_valid(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text(_Tags(page).inside["script"][1])
    subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True, capture_output=True)
