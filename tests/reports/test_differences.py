"""A comparison of runs as page, Markdown, text and JSON: the same words and numbers, inert whatever the input says."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from nla_eval.reports.differences import markdown, render, text
from planted import Arm, planted_frames

from nla_eval._rooms import load_room
from nla_eval.stats.interval import Resampling, withheld
from nla_eval.tally.diff import diff
from nla_eval.tally.diff_sides import Side
from nla_eval.tally.headlines import Board
from nla_eval.tally.published import DIFF_VERSION, PublishedDiff, schema
from nla_eval.tally.report_registry import DIFFS, REPORTS
from nla_eval.tally.tally import TallyOptions, counted_in, tally_of
from nla_eval.tally.types_diff import Change, Diff

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = TallyOptions(how=Resampling(resamples=100))
NASTY = "<script>x</script> ** | `y` \u202e\x1b[31m {{ 7*7 }}"


def side(name: str, aware: float, suite: str, **facts: str) -> Side:
    arms = [Arm(suite, "evaluation", 20, 1, aware, density=0.5, donor=True), Arm("chat", "deployment", 20, 1, 0.0)]
    of = counted_in(planted_frames(arms), OPTIONS)
    return Side(name, tally_of(of, OPTIONS), Board.of(of.found, OPTIONS.primary, OPTIONS), facts)


@cache
def found(suite: str = "office") -> Diff:
    before = side("before", 0.1, suite, target="small", **{"versions.torch": "2.12"})
    after = side("after", 1.0, suite, target=NASTY if suite == NASTY else "small", **{"versions.torch": "2.13"})
    return diff([before, after], OPTIONS.how)


def test_every_format_says_which_rates_moved_by_how_much_and_what_else_differs() -> None:
    for page in (render(found()), markdown(found()), text(found())):
        plain = re.sub(r"\s+", " ", page.replace("\\", ""))
        for part in ("A is before; B is after.", "places in office +", "20 pairs", "versions.torch", "2.13", "▲ up"):
            assert part in plain, part
        assert re.search(r"[1-9] of 11 rates moved", plain, re.IGNORECASE)


def test_every_format_has_the_aurocs_with_their_paired_interval() -> None:
    (row,) = found().aurocs
    for page in (render(found()), markdown(found()), text(found())):
        plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.replace("\\", "")))
        for part in ("ordinary chats", "N, share of 12 places", "20 and 20", f"{row.difference.value:.2f}"):
            assert part in plain, part
        assert "1 of 1 auroc" in plain.lower(), "the status counts them"
        assert f"{row.difference.low:.2f} to {row.difference.high:.2f}" in plain


def test_aurocs_of_other_families_are_shown_with_the_reason_why_their_difference_has_no_interval() -> None:
    row = found().aurocs[0]
    reason = "the runs share 3 of 20 families of office"
    open_row = row.model_copy(
        update={"paired": False, "p": None, "holm_p": None, "change": Change.OPEN,
                "difference": withheld(0.2, 3, "cluster", reason)}
    )  # fmt: skip
    apart = found().model_copy(update={"aurocs": [open_row]})
    none = found().model_copy(update={"aurocs": [], "aurocs_missing": "no suite of both runs"})
    for write in (render, markdown, text):
        assert reason in re.sub(r"\s+", " ", write(apart))
        assert "No AUROC is compared: no suite of both runs." in re.sub(r"\s+", " ", write(none))


def test_the_formats_are_those_of_a_report_and_repeat_their_bytes(tmp_path: Path) -> None:
    load_room("reports")
    assert {*DIFFS} == {"html", "md", "text", "json"}
    assert {*DIFFS} <= {*REPORTS}
    for name in DIFFS:
        first, again = (DIFFS.get(name)(found(), tmp_path / folder / "d.html") for folder in "ab")
        assert first.read_bytes() == again.read_bytes()
    assert DIFFS.get("html")(found(), tmp_path / "c").name == "report.html"


def test_json_has_its_published_schema_and_reads_back(tmp_path: Path) -> None:
    load_room("reports")
    data = json.loads(DIFFS.get("json")(found(), tmp_path / "d.html").read_text())
    assert (data["format"], data["version"]) == ("nla_eval/diff", DIFF_VERSION)
    assert PublishedDiff.model_validate(data).diff == found()
    kept = (ROOT / "docs" / "diff.schema.json").read_text()
    assert kept == schema(PublishedDiff), "run: python -m nla_eval.tally.published diff > docs/diff.schema.json"


@pytest.mark.parametrize("write", [render, markdown, text])
def test_hostile_names_stay_text(write: object) -> None:
    page = write(found(NASTY))  # type: ignore[operator]
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "⟨U+202E⟩" in page
    if write is not text:
        assert "<script>x" not in page.replace("\\<", "")
    if write is markdown:
        assert len({line.replace("\\|", "").count("|") for line in page.splitlines() if "office" in line}) <= 1
