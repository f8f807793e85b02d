"""First paint and filtering of a report of 1,000 transcripts with 200 to open, in headless Chromium from disk.

Needs Debian's chromium and `pip install nla_eval[browser]`; without them these figures are skipped by name."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .figures import Figure, apart
from .report import POSITIONS, TRANSCRIPTS

KEYS = ("report_first_paint_ms", "report_filter_ms")
ROUNDS = 5
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_FILTER = """async ([id, value, event]) => {
  const box = document.getElementById(id), began = performance.now();
  box.value = value;
  box.dispatchEvent(new Event(event));
  document.getElementById("b-list").getBoundingClientRect();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""
_COLD = ("b-search", "harbour music", "input")
"""The first search, before the page has taken all texts in its idle time; it is told apart."""
_CHOICES = (("b-verdict", "n", "change"), ("b-verdict", "", "change"), ("b-search", "river stone", "input"))


def chromium() -> str | None:
    """The browser's path; None if it or Playwright is missing."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found if find_spec("playwright") is not None else None


def measured() -> dict[str, Figure]:
    """Milliseconds until the first paint, and of the slowest filter until its frame is drawn; medians of `ROUNDS`."""
    sync_playwright = import_module("playwright.sync_api").sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        apart("nla_eval.bench.report", str(TRANSCRIPTS), str(POSITIONS), "2", str(page))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=_FLAGS)
            rounds = [_round(browser, page.as_uri()) for _ in range(ROUNDS)]
            browser.close()
    paints, cold, *filters = (statistics.median(values) for values in zip(*rounds, strict=True))
    how = f"{TRANSCRIPTS} transcripts, 200 to open; medians of {ROUNDS} fresh tabs at 1440 px"
    return {
        KEYS[0]: Figure(paints, how=how),
        KEYS[1]: Figure(max(filters), how=f"{how}; a search at once after opening {cold:.0f} ms"),
    }


def _round(browser: Any, url: str) -> list[float]:
    """First paint, then each filter, in a fresh tab."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    tab = context.new_page()
    tab.goto(url)
    tab.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0")
    found = [
        float(tab.evaluate(_PAINT)),
        *(float(tab.evaluate(_FILTER, list(choice))) for choice in (_COLD, *_CHOICES)),
    ]
    context.close()
    return found
