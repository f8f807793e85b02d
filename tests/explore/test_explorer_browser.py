"""The explorer in real headless Chromium, against a live server on the tiny pair: what one sees, clicks and types.

Needs Debian's chromium and `pip install nla_eval[browser]`."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.explore.app import explorer
from nla_eval.explore.guard import hosts_of
from nla_eval.explore.server import bound, serve
from tests import chromium
from tests.chromium import NEEDED, WIDTHS, launched
from tests.explore.tiny_explorer import CHAT, desk_on

pytestmark = [pytest.mark.full, NEEDED]
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<a href='javascript:document.title=1'>x</a> \u2028 \u202e \x00 \x1b[31m {{ 7*7 }} ${7*7} <|im_end|> 🦜 é"
)


@pytest.fixture
def address(tiny: RuntimeSettings) -> str:
    """Where an explorer with real, tiny weights answers: one for each test, because a page shows the chats that are
    open already."""
    at = bound(0)
    port = at.getsockname()[1]
    threading.Thread(target=serve, args=(explorer(desk_on(tiny), hosts_of(port)), at), daemon=True).start()
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as chromium_browser:
        yield chromium_browser


class Tab(chromium.Tab):
    """An explorer's page."""

    def open(self, text: str = CHAT) -> None:
        if not self.page.locator("#opener").evaluate("d => d.open"):
            self.page.click("#opener summary")
        self.page.fill("#pasted", text)
        self.page.click("#paste")
        self.page.wait_for_selector("#chat .tok")

    def read(self, number: int = 5) -> None:
        """Click a token and wait until its draws are scored."""
        self.page.locator("#chat .tok").nth(number).click()
        self.page.wait_for_selector("#chat .tok.read[aria-pressed=true]")
        self.page.locator("#status", has_text="Ready").wait_for()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    contexts = []

    def opened(width: int = 1440, link: str = "", **options: Any) -> Tab:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        made = Tab(context.new_page())
        made.page.set_default_timeout(20_000)
        made.page.goto(address + "/" + link)
        made.page.wait_for_selector("#instrument:not(:empty)")
        return made

    yield opened
    for context in contexts:
        context.close()


def test_a_click_draws_side_by_side_and_nothing_leaves(tab: Any, address: str) -> None:
    one = tab()
    one.open()
    one.read()
    assert one.count(".draw") == 2
    assert one.count(".draw.drawing") == 0
    assert one.count("#chat .tok.read") == 1
    assert one.count("#chat .tok[aria-pressed=true]") == 1
    assert "often made up" in one.text("#panel")
    one.page.click("#draw")
    one.page.wait_for_selector(".draw:nth-child(4)")
    assert [one.text(f".draw:nth-child({n}) h4") for n in (1, 2, 3, 4)] == [f"Draw {n}" for n in (1, 2, 3, 4)]
    assert one.errors == []
    assert all(url.startswith(address + "/") for url in one.requests)


def test_an_edit_shows_its_change_beside_the_draw_and_the_bottom_of_the_scale(tab: Any) -> None:
    one = tab()
    one.open(CHAT + " Edited.")
    one.read(12)
    one.page.locator(".draw button", has_text="Edit").first.click()
    box = one.page.locator(".edit textarea")
    assert box.evaluate("b => b === document.activeElement")
    box.fill("the capital of a country")
    one.page.click("text=Score this text")
    one.page.wait_for_selector(".tried li:nth-child(2)")
    assert "the capital of a country" in one.text(".tried li:first-child")
    assert "cosine" in one.text(".tried li:first-child .figures")
    assert "No words at all" in one.text(".tried li:last-child")
    assert box.input_value() == "the capital of a country", "what is typed outlives a redraw"
    assert one.errors == []


def test_keys_do_what_a_mouse_does(tab: Any) -> None:
    one = tab()
    one.open(CHAT + " Typed.")
    first = one.page.locator("#chat .tok[tabindex='0']")
    assert first.count() == 1, "the chat is one stop of the Tab key"
    first.focus()
    start = one.text("#panel h2")
    one.page.keyboard.press("ArrowRight")
    assert one.text("#panel h2") != start
    one.page.keyboard.press("ArrowLeft")
    assert one.text("#panel h2") == start
    one.page.keyboard.press("End")
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector(".draw:nth-child(2) .figures b, .draw:nth-child(2) .stopped:not(:empty)")
    read = one.text("#panel h2")
    one.page.keyboard.press("Home")
    assert one.text("#panel h2") != read
    one.page.keyboard.press("n")
    assert one.text("#panel h2") == read
    assert one.page.evaluate("document.activeElement.className").startswith("tok")
    assert one.errors == []


def test_a_link_leads_back_to_the_token_with_all_that_was_read(tab: Any) -> None:
    one = tab()
    one.open(CHAT + " Linked.")
    one.read(8)
    link = one.page.evaluate("location.hash")
    assert re.fullmatch(r"#chat=\w+&p=\d+", link)
    again = tab(link=link)
    again.page.wait_for_selector(".draw")
    assert again.text("#panel .draws") == one.text("#panel .draws")
    assert tab(link="#chat=nothing&p=x").errors == []


def test_an_export_is_a_file_of_what_was_read(tab: Any, tmp_path: Path) -> None:
    one = tab()
    one.open(CHAT + " Kept.")
    one.read()
    with one.page.expect_download() as coming:
        one.page.click("#export")
    made = json.loads(Path(coming.value.path()).read_text())
    assert len(made["readings"]) == 2
    assert made["schema"] == "nla_eval.explore/1"


def test_a_file_opens_by_its_picker(tab: Any, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "Where is it? " * 6}, {"role": "assistant", "content": "There. " * 6}]
    chats.write_text("\n".join(json.dumps({"id": f"{n} {HOSTILE}", "messages": [*turns, *turns[:n]]}) for n in (0, 1)))
    one = tab()
    one.page.set_input_files("#file", chats)
    one.page.wait_for_selector("#chat .tok")
    assert one.count("#chats option") >= 2
    one.page.select_option("#chats", index=1)
    one.page.locator("#chat .msg").nth(2).wait_for()
    assert one.page.title() == "Explore: nla-eval"
    assert one.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_stays_text_at_every_width(tab: Any, width: int, scheme: str) -> None:
    one = tab(width, color_scheme=scheme)
    one.open(f"User: {HOSTILE}\n\nAssistant: {HOSTILE} {'w' * 400}")
    one.read(7)
    one.page.locator(".draw button", has_text="Edit").first.click()
    one.page.fill(".edit textarea", HOSTILE + "w" * 400)
    one.page.click("text=Score this text")
    one.page.wait_for_selector(".tried li")
    one.page.click("#keys summary")
    assert one.page.title() == "Explore: nla-eval"
    assert one.count("img, iframe, object, embed, form, base, script:not([src])") == 0
    assert one.count("a[href^='javascript:'], [onerror], [onload], [onclick]") == 0
    shown = one.text("#chat")
    assert "<script>document.title='owned'</script>" in shown
    for code in ("⟨U+2028⟩", "⟨U+202E⟩", "⟨U+001B⟩"):
        assert code in shown
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert one.errors == []
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs nla_eval[browser]")
    found = axe.Axe().run(one.page).response["violations"]
    serious = [
        (v["id"], [(node["target"], node.get("failureSummary", "")[:200]) for node in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_megabyte_opens_cut_and_says_so(tab: Any) -> None:
    one = tab()
    one.page.set_default_timeout(60_000)
    one.open(f"User: {'word ' * 200_000}\n\nAssistant: Yes.")
    assert "600 are read" in one.text(".notice")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 1440
    assert one.errors == []


def test_nonsense_is_one_line_and_the_page_goes_on(tab: Any) -> None:
    one = tab()
    one.page.fill("#pasted", "Once upon a time")
    one.page.click("#paste")
    one.page.wait_for_selector("#message:not([hidden])")
    assert "begin each turn with 'User:'" in one.text("#message")
    one.open()
    assert one.page.locator("#message").is_hidden()
    assert [e for e in one.errors if "400" not in e] == []


def test_another_sites_page_gets_nothing(tab: Any, address: str) -> None:
    one = tab()
    one.page.goto("data:text/html,<title>elsewhere</title>")
    told = one.page.evaluate(
        """async (address) => {
          const tried = [];
          for (const how of [{}, {method: 'POST', body: '{}', headers: {'content-type': 'application/json'}},
                             {method: 'POST', body: 'x', mode: 'no-cors'}]) {
            try { const a = await fetch(address + '/api/about', how); tried.push(a.type + (await a.text())); }
            catch { tried.push('blocked'); }
          }
          return tried;
        }""",
        address,
    )
    assert all(each in ("blocked", "opaque") for each in told)
