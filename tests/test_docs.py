"""The documentation is consistent: cited paragraphs exist, links resolve, lines are short."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.test_rooms import FLOORS

ROOT = Path(__file__).resolve().parent.parent
CITATION = re.compile(r"docs/(?P<page>\w+\.md)(?P<paragraphs>(?:,? \d+(?:\.\d+)?\b)*)")
"""A page, and any of its paragraphs: "docs/method.md 4.1, 4.2"."""
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)?)\b", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)(?P<place>[^)#\s]+)")
FILE = re.compile(r"`((?:nla_eval|tests|suites|classifiers|reports|docs)/[a-z0-9_./-]+\.(?:py|yaml|md|json|txt))`")
MODULE = re.compile(r"python -m ((?:nla_eval|tests)[\w.]*\w)")
OUTSIDE = re.compile(r"\b(?:METHOD|DESIGN|STYLE)\.md\b|\.\./shared\b")
"""Names of pages that are not in the repository."""
LINE = 120
SCREEN = 45
"""Lines of a screen."""
DATA = ("suites/data/", "suites/answers/", "classifiers/data/")
"""Folders whose texts are the suites' and classifiers' own: what they cite is fiction."""


def tracked() -> dict[str, str]:
    """Text of every file that git does not ignore, by its path, without `DATA` and without this file."""
    listed = subprocess.run(["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout", allow_module_level=True)
    kinds = {".py", ".md", ".yaml", ".toml", ".j2", ".css", ".txt", ""}
    paths = [ROOT / name for name in listed.stdout.split("\0") if name and not name.startswith(DATA)]
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in paths
        if path.suffix in kinds and path.is_file() and path != Path(__file__).resolve()
    }
    assert {"README.md", "nla_eval/judgement.py"} <= texts.keys()
    return texts


TEXTS = tracked()
PAGES = {name: text for name, text in TEXTS.items() if re.fullmatch(r"(?:docs/(?:how-to/)?)?[^/]+\.md", name)}
"""Pages of docs, and those at the top."""


def cited(texts: dict[str, str]) -> set[tuple[str, str, str]]:
    """(file, page, paragraph) of every citation; the paragraph is empty where only the page is named."""
    found = set()
    for name, text in texts.items():
        for match in CITATION.finditer(text):
            numbers = re.findall(r"\d+(?:\.\d+)?", match["paragraphs"]) or [""]
            found |= {(name, match["page"], number) for number in numbers}
    return found


def missing(citations: set[tuple[str, str, str]], pages: dict[str, str]) -> list[tuple[str, str, str]]:
    """Citations of a page or a numbered paragraph that does not exist."""
    paragraphs = {name: {"", *HEADING.findall(text)} for name, text in pages.items()}
    return sorted(c for c in citations if c[2] not in paragraphs.get(f"docs/{c[1]}", ()))


def test_every_cited_page_and_paragraph_exists() -> None:
    citations = cited(TEXTS)
    assert ("nla_eval/judgement.py", "method.md", "4.2") in citations
    assert missing(citations, PAGES) == []


@pytest.mark.parametrize("text", ["See docs/method.md 4.99.", "docs/method.md 4.1, 4.21", "docs/nowhere.md"])
def test_a_planted_citation_of_nothing_is_found(text: str) -> None:
    assert missing(cited({"planted.py": text}), PAGES)


def test_the_rules_of_the_method_are_numbered_without_a_gap() -> None:
    numbers = HEADING.findall(TEXTS["docs/method.md"])
    assert [n for n in numbers if "." not in n] == [str(n) for n in range(1, 7)]
    assert [n for n in numbers if n.startswith("4.")] == [f"4.{n}" for n in range(1, 21)]


def test_nothing_refers_to_a_page_outside_the_repository() -> None:
    assert sorted(name for name, text in TEXTS.items() if OUTSIDE.search(text)) == []


def test_every_link_of_a_page_opens() -> None:
    dead = [
        (name, match["place"])
        for name, text in PAGES.items()
        for match in LINK.finditer(text)
        if not (ROOT / name).parent.joinpath(match["place"]).exists()
    ]
    assert dead == []


def test_every_file_and_module_that_a_page_names_exists() -> None:
    named = {(name, match[1]) for name, text in PAGES.items() for match in FILE.finditer(text)}
    modules = {(name, match[1].replace(".", "/")) for name, text in PAGES.items() for match in MODULE.finditer(text)}
    assert ("docs/packs.md", "nla_eval/measure/evaluate.py") in named
    assert ("docs/performance.md", "nla_eval/bench/profile") in modules
    lacking = {(name, place) for name, place in named if not (ROOT / place).exists()}
    lacking |= {(n, m) for n, m in modules if not any(is_module(p) for p in (m, m.removeprefix("nla_eval/")))}
    assert sorted(lacking) == []


def is_module(place: str) -> bool:
    """Whether a path without its ending is a module; the content rooms stand beside `nla_eval` in a checkout."""
    return (ROOT / f"{place}.py").exists() or (ROOT / place).is_dir()


def test_an_entry_of_the_log_fits_one_screen_and_ends_in_a_decision() -> None:
    entries = TEXTS["docs/log.md"].split("\n## ")[1:]
    dates = [entry[:10] for entry in entries]
    assert dates == sorted(dates, reverse=True)
    assert all(re.match(r"\d{4}-\d\d-\d\d \S", entry) for entry in entries)
    assert [entry.partition("\n")[0] for entry in entries if len(entry.splitlines()) > SCREEN] == []
    assert [entry.partition("\n")[0] for entry in entries if "**Decision.**" not in entry] == []


def test_lines_of_a_page_are_short_except_rows_of_tables_and_json_lines() -> None:
    long = [
        (name, number)
        for name, text in PAGES.items()
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > LINE and not line.startswith(("|", '{"'))
    ]
    assert long == []


def test_the_architecture_page_shows_the_table_of_rooms() -> None:
    shown = re.findall(r"^\| (\d+) \| `([\w.]+)` \|", TEXTS["docs/architecture.md"], re.MULTILINE)
    assert shown == [(str(floor), room) for floor, rooms in enumerate(FLOORS, 1) for room in rooms]
