"""The demo on the real target and pack, from prompts without answers to the report: what `make demo` runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nla_eval.models.target import cache_dir

pytestmark = [pytest.mark.full, pytest.mark.pack]


def test_the_demo_answers_reads_judges_and_reports(tmp_path: Path) -> None:
    """Two transcripts of each suite. The answers are written in the same process that later runs Inspect."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "targets").symlink_to(cache_dir() / "targets")  # converted weights, but no answers
    options = ("--limit", "2", "--positions", "stratified(2)", "--max-new-tokens", "48", "--out", str(tmp_path / "out"))
    run = subprocess.run(
        [sys.executable, "-m", "nla_eval", "demo", *options],
        env=os.environ | {"NLA_EVAL_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (cache / "answers" / "real_usage.jsonl").is_file()
    assert len([*(tmp_path / "out" / "logs").glob("*.eval")]) == 2
    assert "real_usage" in (tmp_path / "out" / "report.html").read_text()
