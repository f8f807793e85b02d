"""Opens the report in a real browser with the network off, and looks at what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from nla_eval.reports.build import build_report
from planted import SHOWCASE, Text, planted_frames

from nla_eval.stats.interval import Resampling
from nla_eval.tally.tally import TallyOptions, tally

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"),
)


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
def test_the_report_opens_from_disk_with_the_network_off_and_no_script_runs(tmp_path: Path) -> None:
    hostile = Text(wrap="<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{}")
    found = tally(planted_frames(SHOWCASE, text=hostile), TallyOptions(how=Resampling(resamples=100)))
    report = build_report(found, {"notice": "synthetic planted truth"}, {"expresses_belief": False}, tmp_path)
    dumped = browse(tmp_path, report, "--dump-dom")
    title = re.search(r"<title>(.*?)</title>", dumped)
    assert title is not None
    assert title[1] == "Evaluation awareness: NLA-measured and verbalized"
    assert "12. What this report does not show" in dumped
    assert len(re.findall(r"<svg\b", dumped)) == 2
    assert "<script" not in dumped.lower()
    assert "<img" not in dumped.lower()


def browse(folder: Path, page: Path, *flags: str) -> str:
    """What headless chromium prints for a page, with a profile of its own."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout
