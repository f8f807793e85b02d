"""The locked environment fits pyproject.toml, and the check of it sees what does not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nla_eval.cards.lock import LOCK, PROJECT, audited, entries, faults

SMALL = """\
numpy==2.3.1 \\
    --hash=sha256:00 \\
    --hash=sha256:11
pytest==9.0 ; python_version < "4" \\
    --hash=sha256:22
"""
BOUNDS = '[project]\ndependencies = ["torch>=2.13", "numpy>=2.3"]\noptional-dependencies = {dev = ["pytest>=8.4"]}\n'


def test_the_shipped_lock_fits() -> None:
    assert list(faults(LOCK.read_text(), PROJECT.read_text())) == []
    assert len(entries(LOCK.read_text())) > 100


def test_entries_have_versions_and_hashes() -> None:
    assert [(p.name, str(p.version), p.hashes) for p in entries(SMALL)] == [("numpy", "2.3.1", 2), ("pytest", "9.0", 1)]
    assert list(faults(SMALL, BOUNDS)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("numpy==2.3.1", "numpy==2.2.0"), "numpy 2.2.0 is locked; expected numpy>=2.3"),
        (lambda text: text.replace("pytest", "other"), "pytest is not locked; expected pytest>=8.4"),
        (lambda text: text.replace("--hash=sha256:22", ""), "pytest 9.0 has no hash"),
        (lambda text: text + "torch==2.13.0 \\\n    --hash=sha256:33\n", "torch 2.13.0 is locked; expected none"),
        (lambda text: "--index-url https://example.org\n" + text, "an address in the lock: --index"),
        (lambda text: text + "x @ https://example.org/x.whl\n", "an address in the lock: https://"),
    ],
)
def test_what_does_not_fit_is_told(change: Callable[[str], str], told: str) -> None:
    assert list(faults(change(SMALL), BOUNDS)) == [told]


def answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str) -> None:
    """Let pip-audit be there and print `output`."""
    (tmp_path / "pip-audit").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    run: Any = lambda *args, **options: SimpleNamespace(stdout=output, returncode=0)  # noqa: E731
    monkeypatch.setattr(subprocess, "run", run)


def test_an_unsafe_version_and_one_that_could_not_be_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vulnerability = {"id": "PYSEC-1", "fix_versions": ["2.4"]}
    dependencies = [
        {"name": "numpy", "version": "2.3.1", "vulns": [vulnerability]},
        {"name": "pytest", "skip_reason": "not found"},
    ]
    answered(monkeypatch, tmp_path, json.dumps({"dependencies": dependencies}))
    assert audited(LOCK) == (1, ["numpy 2.3.1: PYSEC-1, mended in 2.4"], ["pytest"])


def test_without_a_network_every_package_is_named_as_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small.lock"
    small.write_text(SMALL)
    answered(monkeypatch, tmp_path, "")
    assert audited(small) == (0, [], ["numpy", "pytest"])
