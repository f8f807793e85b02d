"""The labelling page is one file, blind, and inert whatever a text holds."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nla_eval.judgement import Label, Outcome
from nla_eval.judging.classify import load_rubric
from nla_eval.validation.labels import read_labels
from nla_eval.validation.page import UNCLEAR, page_html
from nla_eval.validation.population import JudgedText
from nla_eval.validation.sample import draw_sheet
from tests.chromium import CHROMIUM, NEEDED

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "{title} \u2028\u202e <!-- \x00 ' \" & \ud800"
)


TEXTS = [
    JudgedText(
        kind,
        f"{kind} {i} {HOSTILE}",
        Outcome.AWARE,
        (Label.BELIEF,),
        0.987654,
        "place-of-origin",
        "arm-of-origin",
        "suite-of-origin",
    )
    for kind in ("explanation", "turn")
    for i in range(6)
]
SHEET = draw_sheet(TEXTS, "judge-of-origin@7", "strict@0", [], 12, 0)


@pytest.fixture(scope="module")
def page() -> str:
    return page_html(SHEET, {t.id: t.text for t in TEXTS}, load_rubric())


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
    assert not re.search(r"0\.98|of-origin", page)


def test_every_label_has_its_rule_beside_it_and_a_key_of_its_own(page: str) -> None:
    labels = _Tags(page).data()["labels"]
    rubric = load_rubric()
    assert {label["name"] for label in labels} == {*(label.value for label in Label), UNCLEAR}
    assert len({label["key"] for label in labels}) == len(labels)
    assert all(label["means"] == rubric.labels[Label(label["name"])].means for label in labels[:-1])


@pytest.mark.full
@NEEDED
def test_it_runs_from_disk_with_the_network_off(page: str, tmp_path: Path) -> None:
    printable = page.replace("\\ud800", "")  # chromium shows a lone surrogate, but cannot print it
    (tmp_path / "page.html").write_text(printable, encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "page.html").as_uri()),
    ]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert re.search(r"<title>0/12 labelled, sheet \w{12}</title>", dumped)
    assert dumped.count('aria-pressed="false"') == len(Label) + 1
    assert "&lt;script&gt;document.title='owned'" in dumped
    assert "<img" not in dumped


NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node on the PATH")


def used(page: str, folder: Path, *keys: str, stored: str = "[]") -> dict:
    """What a person does with the page: the file saved, what the browser kept, and what the page says."""
    found = _Tags(page).inside["script"]
    (folder / "data.json").write_text(found[0], encoding="utf-8")
    (folder / "page.js").write_text(found[1], encoding="utf-8")
    harness = Path(__file__).parent / "page_in_node.js"
    command = [str(NODE), str(harness), str(folder / "page.js"), str(folder / "data.json"), stored, *keys]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def rows(done: dict) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done["saved"]["csv"], newline="")))


@needs_node
def test_keys_label_the_texts_in_order_and_the_file_says_so(page: str, tmp_path: Path) -> None:
    data = _Tags(page).data()
    key = {label["name"]: label["key"] for label in data["labels"]}
    done = used(page, tmp_path, 'name:Ada "A", B', 'note:a "note", quoted', key["belief"], "ArrowRight", key["unclear"])
    assert [(row["item"], row["label"]) for row in rows(done)] == [
        (data["items"][0]["id"], "belief"),
        (data["items"][2]["id"], "unclear"),
    ]
    assert {row["labeller"] for row in rows(done)} == {'Ada "A", B'}
    assert [row["note"] for row in rows(done)] == ['a "note", quoted', ""]
    assert done["done"] == "2 of 12 labelled"
    assert done["saved"]["name"] == f"labels-{data['sheet']}-Ada_A_B.csv"


@needs_node
def test_a_label_is_changed_and_taken_back(page: str, tmp_path: Path) -> None:
    done = used(page, tmp_path, "name:Ada", "0", "ArrowLeft", "1", "ArrowLeft", "1", "2")
    assert [row["label"] for row in rows(done)] == [_Tags(page).data()["labels"][2]["name"]]


@needs_node
def test_progress_is_kept_and_space_goes_to_the_next_open_text(page: str, tmp_path: Path) -> None:
    before = used(page, tmp_path, "name:Ada", "0", "0", "ArrowLeft", "ArrowLeft")
    after = used(page, tmp_path, " ", "1", stored=json.dumps(before["kept"]))
    ids = [item["id"] for item in _Tags(page).data()["items"]]
    assert [row["item"] for row in rows(after)] == ids[:3]


@needs_node
def test_without_a_name_nothing_is_saved_and_without_storage_it_warns(page: str, tmp_path: Path) -> None:
    nameless = used(page, tmp_path, "0")
    assert nameless["saved"] is None
    assert nameless["warning"].startswith("Enter your name first")
    blocked = used(page, tmp_path, "name:Ada", "0", stored="blocked")
    assert "keeps no progress" in blocked["warning"]
    assert len(rows(blocked)) == 1


@needs_node
def test_what_the_page_saves_is_what_the_merge_reads(page: str, tmp_path: Path) -> None:
    data = _Tags(page).data()
    done = used(page, tmp_path, "name:Ada", "0", "1", "u")
    (tmp_path / "ada.csv").write_bytes(done["saved"]["csv"].encode())
    found = read_labels(tmp_path / "ada.csv", SHEET)
    assert found.labeller == "Ada"
    assert list(found.of) == [item["id"] for item in data["items"][:3]]
    assert list(found.of.values()) == ["none", "belief", UNCLEAR]
