"""The documentation site builds without a warning, and loads nothing from another host."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nla_eval.commands.reference import TREE, page

ROOT = Path(__file__).resolve().parent.parent


class _Lenient(yaml.SafeLoader):
    """mkdocs.yml may hold tags of its own; here only its nav counts."""


def places(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    found = nav.values() if isinstance(nav, dict) else nav
    return [place for part in found for place in places(part)]  # type: ignore[union-attr]


def test_the_nav_has_every_page_of_docs() -> None:
    nav = places(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=_Lenient)["nav"])
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(nav)
    generated = set(nav) - pages
    hooks = (ROOT / "docs" / "hooks.py").read_text()
    assert all(f'"{Path(place).stem}"' in hooks or f'"{place}"' in hooks for place in generated)


def test_the_reference_has_every_command_with_every_option() -> None:
    shown = page()
    for command in TREE.values():
        assert not command.words or f"## nla-eval {' '.join(command.words)}\n\n{command.help}" in shown
        assert all(f"`{spelling}`" in shown for spelling in command.options)
        assert all(parameter.help or command.group for parameter in command.parameters), command.words


@pytest.mark.full
def test_the_site_builds_strictly_and_links_to_no_asset_elsewhere(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocstrings") is None or importlib.util.find_spec("material") is None:
        pytest.skip("the extra 'docs' is not installed; make docs installs it")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assets = re.compile(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?://""")
    assert [p.name for p in tmp_path.rglob("*.html") if assets.search(p.read_text())] == []
