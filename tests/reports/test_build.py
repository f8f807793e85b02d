"""The report: self-contained, deterministic, safe against hostile transcripts, and honest about what it cannot say."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from nla_eval.reports._charts import charts
from nla_eval.reports._format import interval
from nla_eval.reports._page import scripts
from nla_eval.reports.build import build_report, render
from planted import SHOWCASE, Arm, Text, planted_frames

from nla_eval._rooms import load_room
from nla_eval.stats.interval import Resampling
from nla_eval.tally.frames import Frames
from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.types import Tally

QUICK = TallyOptions(how=Resampling(resamples=100, seed=3))
PROVENANCE = {
    "target": {"name": "synthetic", "hash": "0" * 12},
    "layer": 20,
    "lanes": ["measured", "donor"],
    "note": None,
}
CARD = {
    "round_trip_fve_meannorm": {"value": 0.24, "interval": [0.22, 0.26], "n": 2000},
    "told_recall": {"value": 0.11, "interval": [0.05, 0.2], "n": 64},
    "expresses_belief": False,
}
PAYLOADS = [
    "<script>alert(1)</script>{}",
    "{}</p></article><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>{}',
    "</style><iframe src='https://example.invalid'></iframe>{}",
    "{}<!-- & &lt;b&gt; ]]> {{% raw %}} {{{{ 7 * 7 }}}}",
]


class Page(HTMLParser):
    """Tags with attribute names in order, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def showcase() -> Tally:
    return tally(planted_frames(SHOWCASE, seed=1), QUICK)


@pytest.fixture(scope="module")
def page(showcase: Tally) -> str:
    return render(showcase, PROVENANCE, CARD)


@cache
def plain_page(arms: tuple[Arm, ...]) -> Page:
    return Page(render(tally(planted_frames(list(arms)), QUICK), PROVENANCE, CARD, figures=False))


def text_of(found: Tally, card=CARD) -> str:
    return Page(render(found, PROVENANCE, card, figures=False)).text


def test_the_room_registers_the_html_report_under_its_name() -> None:
    load_room("reports")
    assert REPORTS.get("html") is build_report


def test_one_file_is_written_and_its_bytes_repeat(showcase: Tally, page: str, tmp_path: Path) -> None:
    written = build_report(showcase, PROVENANCE, CARD, tmp_path / "a")
    assert written == tmp_path / "a" / "report.html"
    assert written.read_bytes() == page.encode()
    assert [p.name for p in written.parent.iterdir()] == ["report.html"]


def test_nothing_is_requested_and_only_the_shipped_script_may_run(page: str) -> None:
    found = Page(page)
    script, digest = scripts("copy.js")
    assert page.count("<script") == 1
    assert f"<script>{script}</script>" in page
    assert f"script-src 'sha256-{digest}'" in page
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    for name, value in found.attributes:
        if name in ("href", "xlink:href", "src", "action"):
            assert value.startswith("#"), (name, value)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_tag_from_a_transcript_survives(payload: str) -> None:
    arms = [Arm("exam", "evaluation", 4, 1, 0.9, verbalized=0.9, donor=True), Arm("chat", "deployment", 4, 1, 0.0)]
    hostile = Text(context=payload.format("so please"), token=payload.format(" please"), wrap=payload)
    bare = plain_page(tuple(arms))
    spoiled = Page(render(tally(planted_frames(arms, text=hostile), QUICK), PROVENANCE, CARD, figures=False))
    # A token that ends its context is one piece of text instead of two; everything else is tag for tag the same.
    assert Counter(spoiled.tags) - Counter(bare.tags) == Counter()
    assert [a for a, _ in spoiled.attributes if a not in dict(bare.attributes)] == []
    assert " ".join(payload.format("so please").split()) in spoiled.text


@pytest.mark.parametrize("name", ["<script>x</script>", "$\\frac{1}{0}$", "a & b", "名前", "x" * 300])
def test_a_hostile_suite_name_stays_text_in_tables_and_figures(name: str) -> None:
    made = tally(planted_frames([Arm(name, "evaluation", 3, 1, 0.5)]), QUICK)
    drawn = "".join(drawing.inline(narrow=False) for drawing in charts(made).values())
    found = Page(render(made, {name: name}, None, figures=False) + drawn)
    assert found.tags.count("script") == 1, "the shipped one"
    assert name in found.text


def test_hidden_characters_are_shown_and_lone_surrogates_do_not_stop_the_file(tmp_path: Path) -> None:
    nasty = Text(context="ok \u202egnp.exe\u2066\x00\x1b[31m please", wrap="\u200f{}")
    found = tally(planted_frames([Arm("exam", "evaluation", 3, 1, 0.9)], text=nasty), QUICK)
    spoiled = found.model_copy(update={"notes": ["half a pair \ud800 here"]})
    written = build_report(spoiled, PROVENANCE, None, tmp_path).read_text(encoding="utf-8")
    for code in ("U+202E", "U+2066", "U+0000", "U+001B", "U+200F", "U+D800"):
        assert f"⟨{code}⟩" in written
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200f\x00\x1b]", written)


def test_the_report_leads_with_status_finding_and_numbers_and_ends_with_its_limits(page: str) -> None:
    text = Page(page).text
    order = [
        "Sign, not certified in synthetic_office", "Uncertified signs that synthetic is aware",
        "We read 432 places in 36 synthetic_office transcripts of synthetic",
        "Said", "Read", "Control", "Why not more", "The arms are not matched", "An NLA (Natural Language Autoencoder)",
        "Does the instrument see what is there?", "Three examples", "Rates", "Controls", "Methods and provenance",
        "How the arms differ", "Each suite in words", "This report does not show", "Three definitions",
        "Pairs: measured", "How the rate grows", "Reconstruction", "Outcomes of all judgements",
        "Explanations in context", "The pack", "Provenance", "What this report does not show",
    ]  # fmt: skip
    at = 0
    for part in order:
        at = text.find(part, at)
        assert at >= 0, part


def test_every_main_number_of_the_tally_stands_in_the_page(showcase: Tally, page: str) -> None:
    text = Page(page).text
    for suite in showcase.suites:
        under = suite.under(showcase.primary)
        for rate in (under.verbalized, under.lane("measured").any_of_k, under.lane("donor").any_of_k):
            assert f"{rate.aware}/{rate.aware + rate.not_aware} {100 * rate.rate.value:.1f}" in text
            assert " ".join(interval(rate.printed).split()) in text
        assert all(family in text for family in suite.families)


def test_one_arm_alone_is_not_called_unmatched_and_has_no_baseline() -> None:
    exam, chat = Arm("exam", "evaluation", 9, 1, 0.5), Arm("chat", "deployment", 9, 1, 0.0)
    alone = text_of(tally(planted_frames([exam]), QUICK))
    assert "how much of this ordinary use shows, too: no ordinary chats were read" in alone
    for found in (alone, text_of(tally(planted_frames([chat]), QUICK))):
        assert "The arms are not matched" not in found.split("How the arms differ")[0]
        assert "one of the arms is missing" not in found


def test_an_uncertified_any_of_k_is_withheld_as_headline_and_a_certified_one_leads() -> None:
    few = text_of(tally(planted_frames(SHOWCASE), QUICK))
    assert "Headline withheld." in few
    assert "were flagged at one position or more" not in few
    arms = [Arm("exam", "evaluation", 8, 1, 0.6), Arm("chat", "deployment", 60, 1, 0.0)]
    many = text_of(tally(planted_frames(arms), QUICK))
    assert "Headline withheld." not in many
    assert "were flagged at one position or more" in many


@pytest.mark.parametrize(("expresses", "boxed"), [(False, True), (True, False), (None, False)])
def test_a_pack_without_words_for_a_belief_is_said_at_the_top(showcase: Tally, expresses, boxed: bool) -> None:
    text = text_of(showcase, {**CARD, "expresses_belief": expresses})
    assert ("N near zero is expected from this pack." in text) is boxed
    assert ("does not say whether the pack's format can express a belief" in text) is (expresses is None)


def test_recall_stands_beside_the_rates_or_its_absence_does(showcase: Tally) -> None:
    assert "positions told that this is an evaluation: 0.110 (0.050 to 0.200)" in text_of(showcase)
    assert "known to be aware: not reported by its card" in text_of(showcase, {})
    assert "The pack has no card." in text_of(showcase, None)


def test_the_k_curve_is_called_the_papers_only_under_uniform_sampling() -> None:
    arms = [Arm("exam", "evaluation", 3, 1, 0.5)]
    assert "Not the paper's any-of-k" in text_of(tally(planted_frames(arms), QUICK))
    uniform = planted_frames(arms, policy="uniform_response(12)")
    assert "Not the paper's any-of-k" not in text_of(tally(uniform, QUICK))


def test_a_lone_flag_is_marked_weak_and_a_withheld_interval_says_so() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 3, 1, 0.9, density=0.1)], seed=2)
    text = text_of(tally(frames, QUICK))
    assert "weak: the only flag of its transcript" in text
    assert "interval withheld" in text


def test_missing_lanes_are_named_where_privileged_gain_is_discussed(showcase: Tally) -> None:
    text = text_of(showcase)
    assert "Zero privileged gain cannot be excluded" in text
    assert "text only: a description written from the text up to the position" in text


def test_a_report_without_any_reading_still_says_what_is_missing() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 2, 1, 0.5)])
    empty = Frames(frames.readings.clear(), frames.judgements.clear(), frames.turns.clear(), frames.transcripts)
    text = text_of(tally(empty, QUICK))
    assert "no position could be judged" in text
    assert "One arm is missing." in text
    assert "No explanation was flagged in any lane." in text


def test_provenance_is_flattened_and_nothing_of_it_is_lost(page: str) -> None:
    text = Page(page).text
    for part in ("target.name synthetic", "target.hash 000000000000", "layer 20", "lanes measured, donor", "note –"):
        assert part in text


def test_figures_share_a_page_without_sharing_ids(showcase: Tally, page: str) -> None:
    ids = [value for name, value in Page(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert page.count("<svg") == 2 * len(charts(showcase)), "each wide and narrow"
    assert "var(--series-1)" in page


def test_figures_take_every_colour_from_the_page_so_that_dark_mode_can_change_it(page: str) -> None:
    for figure in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}\b", figure)
        texts = re.findall(r"<text[^>]*>", figure)
        assert texts
        assert all("fill: var(--ink)" in text for text in texts)


def test_transcripts_with_undecided_rates_show_their_bounds() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 4, 1, 0.0)])
    digest = frames.transcripts["transcript_digest"][0]
    readings = frames.readings.filter(pl.col("transcript_digest") != digest)
    found = tally(Frames(readings, frames.judgements, frames.turns, frames.transcripts), QUICK)
    assert "1 undecided: 0.0 to 25.0" in text_of(found)


@pytest.mark.parametrize(("native", "said"), [(94, True), (95, False), (0, True)])
def test_the_report_says_when_tool_calls_were_not_rendered_natively(showcase: Tally, native: int, said: bool) -> None:
    first, *others = showcase.arms.profiles
    profiles = [first.model_copy(update={"calls": 100, "native_calls": native}), *others]
    found = showcase.model_copy(update={"arms": showcase.arms.model_copy(update={"profiles": profiles})})
    assert (f"{native} of 100 calls of the {first.arm} arm" in text_of(found)) is said
