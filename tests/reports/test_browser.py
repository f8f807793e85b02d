"""The report in real headless Chromium, from disk and with the network off: what a reader sees, clicks and types.

Needs Debian's chromium and `pip install nla_eval[browser]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nla_eval.reports.build import build_report
from nla_eval.reports.differences import build_html
from planted import SHOWCASE, Arm, planted_frames
from planted_chats import planted_chats

from nla_eval.stats.interval import Resampling
from nla_eval.tally.browse import browse
from nla_eval.tally.diff import diff
from nla_eval.tally.diff_sides import Side
from nla_eval.tally.headlines import Board
from nla_eval.tally.tally import TallyOptions, counted_in, tally, tally_of
from nla_eval.tally.verdicts import verdicts
from nla_eval.tally.where import where
from tests.chromium import NEEDED, WIDTHS, Tab, launched

pytestmark = [pytest.mark.full, NEEDED]
QUICK = TallyOptions(how=Resampling(resamples=100))
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<a href='javascript:document.title=1'>x</a> \u2028 \u202e \x00 \x1b[31m {{{{ 7*7 }}}} ${{7*7}} {}"
)


def written(folder: Path, name: str, **planted: Any) -> Path:
    made = planted_chats(**planted)
    counted = tally(made.frames, QUICK).model_copy(
        update={
            "where": where(verdicts(made.frames, QUICK.definitions), QUICK.primary, QUICK.how),
            "browse": browse(verdicts(made.frames, QUICK.definitions), made.messages),
        }
    )
    card = {"told_recall": {"value": 0.7, "interval": [0.6, 0.8], "n": 90}, "expresses_belief": True}
    return build_report(counted, {"target": "synthetic", "layer": 20}, card, folder / f"{name}.html")


def compared(folder: Path) -> Path:
    """A comparison of two runs, one of them with hostile facts."""
    sides = []
    for name, aware in (("before", 0.1), ("after", 1.0)):
        arms = [Arm(f"suite_{i}", "evaluation", 10, 1, aware, density=0.5, donor=True) for i in range(3)]
        of = counted_in(planted_frames([*arms, Arm("chat", "deployment", 20, 1, 0.0)]), QUICK)
        board = Board.of(of.found, QUICK.primary, QUICK)
        sides.append(Side(name, tally_of(of, QUICK), board, {"target": HOSTILE.format(name), "pack": "p@1"}))
    return build_html(diff(sides, QUICK.how), folder / "diff.html")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    many = [Arm(f"suite_{i}", "evaluation", 8, 1, 0.1 * i, donor=True) for i in range(8)]
    return {
        "plain": written(folder, "plain", draws=2),
        "hostile": written(folder, "hostile", arms=SHOWCASE[:2], wrap=HOSTILE),
        "many": written(folder, "many", arms=[*many, Arm("chat", "deployment", 24, 1, 0.0)]),
        "turns": written(
            folder, "turns", arms=[Arm("exam", "evaluation", 2, 1, 0.9, donor=True)], wrap=HOSTILE, turns=5_000
        ),
        "diff": compared(folder),
        "long": written(folder, "long", arms=[Arm("exam", "evaluation", 2, 1, 0.9)], filler=" wordwordword" * 80_000),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def open_tab(browser: Any, reports: dict[str, Path]) -> Iterator[Any]:
    contexts = []

    def opened(name: str = "plain", link: str = "", width: int = 1440, **options: Any) -> Tab:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.goto(reports[name].as_uri() + link)
        return tab

    yield opened
    for context in contexts:
        context.close()


def unfold(tab: Tab) -> None:
    tab.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


@pytest.mark.parametrize("name", ["plain", "hostile", "many", "long", "turns"])
def test_the_report_opens_from_disk_without_a_request_an_error_or_foreign_markup(open_tab: Any, name: str) -> None:
    tab = open_tab(name)
    unfold(tab)
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith("file:")] == []
    assert len(tab.requests) == 1
    assert tab.page.title().endswith("is aware of being evaluated")
    assert tab.count("img, iframe, object, embed, link, form, base") == 0
    assert tab.count("a[href^='javascript:'], [onerror], [onload], [onclick]") == 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["plain", "hostile", "many"])
def test_no_width_scrolls_sideways_even_with_all_folds_open(open_tab: Any, name: str, width: int) -> None:
    tab = open_tab(name, width=width)
    unfold(tab)
    tab.page.locator("#b-read .tok").first.click()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["plain", "many"])
def test_the_finding_stands_in_the_first_screen_after_few_words(open_tab: Any, name: str) -> None:
    tab = open_tab(name)
    bottom = tab.page.evaluate("document.querySelector('.why').getBoundingClientRect().bottom")
    assert bottom < 900
    before = f"{tab.text('.status')} {tab.text('h1')} {tab.text('.lead')}"
    assert len(before.split()) <= 120
    if name == "many":
        figure = tab.page.evaluate("document.querySelector('.many svg').getBoundingClientRect().top")
        assert figure < 600


def test_the_list_filters_and_searches_at_once(open_tab: Any) -> None:
    tab = open_tab()
    total = tab.count("#b-list li")
    assert total == 84
    tab.page.select_option("#b-verdict", "n")
    flagged = tab.count("#b-list li")
    assert 0 < flagged < total
    assert tab.text("#b-found") == f"{flagged} of {total}"
    assert tab.count("#b-list .badge.yes") >= flagged
    tab.page.select_option("#b-arm", "deployment")
    assert tab.count("#b-list li") < flagged
    tab.page.click("#b-clear")
    spent = tab.page.evaluate(
        """() => { const box = document.getElementById('b-search'); const began = performance.now();
        box.value = 'synthetic_office-007'; box.dispatchEvent(new Event('input'));
        return performance.now() - began; }"""
    )
    assert tab.count("#b-list li") == 1
    assert spent < 1000
    tab.page.fill("#b-search", "no such words anywhere")
    assert tab.text("#b-found") == f"0 of {total}"


def test_a_read_token_opens_its_explanations_and_the_link_leads_back_to_them(open_tab: Any) -> None:
    tab = open_tab()
    assert tab.page.locator("#b-panel").is_hidden()
    token = tab.page.locator("#b-read .tok.o-aware").first
    token.click()
    panel = tab.text("#b-panel")
    assert "Explanation" in panel
    assert "donor lane, same place" in panel
    assert "draw 2" in panel
    assert "AR cosine" in panel
    assert "Judge: names a test of the model" in panel
    assert "often made up" in panel
    assert tab.count("#b-panel mark.said") >= 1
    link = tab.page.evaluate("location.hash")
    assert re.fullmatch(r"#t=\w+&p=\d+", link)
    again = open_tab(link=link)
    assert again.text("#b-panel") == panel
    assert again.count("#b-read .tok[aria-current]") == 1
    assert open_tab(link="#t=nothing&p=1").errors == []


def test_keys_walk_through_transcripts_and_read_tokens(open_tab: Any) -> None:
    tab = open_tab()
    tab.page.focus("#b-list")
    first = tab.text("#b-read h3")
    tab.page.keyboard.press("j")
    assert tab.text("#b-read h3") != first
    tab.page.keyboard.press("k")
    assert tab.text("#b-read h3") == first
    tab.page.keyboard.press("n")
    one = tab.text("#b-panel h3")
    tab.page.keyboard.press("n")
    assert tab.text("#b-panel h3") != one
    tab.page.keyboard.press("p")
    assert tab.text("#b-panel h3") == one
    tab.page.keyboard.press("Escape")
    assert tab.page.locator("#b-panel").is_hidden()
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("nj")
    assert tab.page.input_value("#b-search") == "nj", "keys are text where one types"


def test_messages_name_their_author_and_mark_what_was_said(open_tab: Any) -> None:
    tab = open_tab()
    tab.page.select_option("#b-verdict", "v")
    tab.page.locator("#b-list a").first.click()
    assert "written by the target in this run" in tab.text("#b-read")
    assert "".join(tab.page.locator("#b-read mark.said").all_inner_texts()).startswith("being evaluated")
    assert tab.count("#b-read .msg") == 5
    assert tab.count("#b-read details") >= 2, "thinking and tool calls fold"


def test_without_script_everything_but_the_transcripts_reads(open_tab: Any) -> None:
    tab = open_tab(java_script_enabled=False)
    assert "The transcripts open with script only." in tab.text("noscript")
    assert tab.page.locator("#b").is_hidden()
    tab.page.click("summary:has-text('What this report does not show')")
    assert "Rates are relative" in tab.text("#cannot")
    assert tab.page.locator(".example .open").first.is_hidden()


def test_print_opens_every_fold_and_leaves_the_browser_out(open_tab: Any) -> None:
    tab = open_tab()
    tab.page.emulate_media(media="print")
    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.page.locator("#b").is_hidden()
    assert tab.page.locator("#cannot").is_visible()
    assert tab.page.locator("nav").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(open_tab: Any, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs nla_eval[browser]")
    tab = open_tab(width=width, color_scheme=scheme)
    unfold(tab)
    tab.page.locator("#b-read .tok").first.click()
    found = axe.Axe().run(tab.page).response["violations"]
    serious = [
        (v["id"], [(node["target"], node.get("failureSummary", "")[:200]) for node in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_comparison_of_runs_reads_at_every_width_without_a_request_or_anything_serious(
    open_tab: Any, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs nla_eval[browser]")
    for width in WIDTHS:
        tab = open_tab("diff", width=width, color_scheme=scheme)
        unfold(tab)
        assert tab.errors == []
        assert len(tab.requests) == 1
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.page.title() == "What moved between A and B"
    assert "⟨U+202E⟩" in tab.text("#differs")
    assert "moved" in tab.text(".status")
    assert tab.page.evaluate("document.querySelector('.many svg').getBoundingClientRect().top") < 600
    found = axe.Axe().run(tab.page).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_every_table_can_be_copied_as_tsv_and_markdown(open_tab: Any) -> None:
    tab = open_tab()
    unfold(tab)
    assert tab.count(".copy") == tab.count("main table")
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    bar = tab.page.locator("#rates .scroll + .copy").first
    rows = tab.page.locator("#rates table").first.locator("tr").count()
    bar.get_by_role("button", name="TSV").click()
    bar.get_by_text("copied").wait_for(timeout=5000)
    lines = tab.page.evaluate("navigator.clipboard.readText()").rstrip("\n").split("\n")
    assert len(lines) == rows
    assert len({line.count("\t") for line in lines}) == 1
    assert "synthetic_office" in lines[1]
    bar.get_by_role("button", name="Markdown").click()
    tab.page.wait_for_timeout(200)
    lines = tab.page.evaluate("navigator.clipboard.readText()").rstrip("\n").split("\n")
    assert len(lines) == rows + 1
    assert set(lines[1]) <= {"|", "-"}


def test_ten_thousand_turns_are_counted_where_they_are_left_out(open_tab: Any) -> None:
    tab = open_tab("turns")
    assert re.search(r"\d{4} messages left out", tab.text("#b-read"))
    assert tab.count("#b-read .msg") <= 400
    assert tab.page.title() != "owned"


def test_print_is_light_and_has_no_buttons_whatever_the_scheme(open_tab: Any) -> None:
    for name in ("plain", "diff"):
        tab = open_tab(name, color_scheme="dark")
        tab.page.emulate_media(media="print")
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.page.locator(".copy").first.is_hidden()


def test_a_megabyte_of_text_is_cut_around_its_tokens(open_tab: Any) -> None:
    tab = open_tab("long")
    assert "characters left out" in tab.text("#b-read")
    assert tab.count("#b-read .tok") > 0
