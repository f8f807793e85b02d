"""Variants and matched arms in a report: a table where there is something to compare, plain words where not."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from nla_eval.reports._format import difference, difference_interval
from nla_eval.reports.build import render
from planted import CELLS, DESIGNS, PAIRS, SHOWCASE, Arm, planted_frames

from nla_eval.cards.design import Design
from nla_eval.dataset.matching import Balance, MatchedArm, Measure
from nla_eval.stats.interval import Estimate, Resampling
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.types import VariantMeasure

QUICK = TallyOptions(how=Resampling(resamples=100, seed=3))
SILENT = replace(PAIRS, variants=tuple((name, 0.0) for name, _ in PAIRS.variants))
LEVEL = replace(CELLS, variants=tuple((name, 0.4) for name, _ in CELLS.variants))
MATCHED = MatchedArm(
    measures=(Measure.LENGTH, Measure.TURNS, Measure.LANGUAGE),
    seed=7,
    wanted=("synthetic_office",),
    pool=("synthetic_chat",),
    drawn=24,
    donors=240,
    balance=(
        Balance("length", 5200.0, 2100.0, 4800.0, 1.2, 0.16),
        Balance("turns", 2.0, 1.1, 1.4, 0.9, 0.6),
        Balance("language=de", 0.5, 0.1, 0.5, None, 0.0),
    ),
)


class Words(HTMLParser):
    """The text of a page in one line, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.found).split())

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.found.append(data)


def page_of(*arms: Arm, matched: tuple[MatchedArm, ...] = (), designs: dict[str, Design] = DESIGNS) -> Words:
    frames = replace(planted_frames(list(arms), seed=1), designs=designs, matched=matched)
    return Words(render(tally(frames, QUICK), {"target": "synthetic"}, None, figures=False))


@pytest.fixture(scope="module")
def compared() -> Words:
    return page_of(*SHOWCASE, PAIRS, CELLS)


def test_each_suite_with_a_design_has_one_table_and_others_have_none(compared: Words) -> None:
    assert compared.text.count("Variants of ") == 2
    assert "43 items (prompt families); headline paper" in compared.text
    assert "told test − neutral" in compared.text
    assert "(exam, evaluation − exam, deployment) − (chat, evaluation − chat, deployment)" in compared.text
    assert "Variants of " not in page_of(*SHOWCASE).text


def test_the_head_compares_variants_instead_of_giving_a_rate_over_all_of_them(compared: Words) -> None:
    assert "In synthetic_pairs, told_test, told_production and neutral are compared with each other." in compared.text
    assert "In synthetic_pairs, 1" not in compared.text


def test_what_is_clear_of_zero_is_named_and_an_interaction_qualifies_the_main_effects(compared: Words) -> None:
    assert "Significant after Holm's correction: told_test − told_production in N (any of k)" in compared.text
    assert "The effect of context depends on format" in compared.text
    assert "not that the model believes it" in compared.text


def test_tables_are_numbered_without_a_gap_whatever_a_report_leaves_out(compared: Words) -> None:
    for page in (compared, page_of(PAIRS)):
        numbers = [int(n) for n in re.findall(r"Table (\d+)\.", page.text)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 8


def test_a_suite_without_a_donor_lane_is_not_said_to_have_failed_against_one() -> None:
    said = "that synthetic_pairs shows more than the verbalizer's own habits: "
    assert f"{said}no donor lane was read for comparison" in page_of(replace(PAIRS, donor=False)).text
    assert f"{said}no donor lane" not in page_of(PAIRS).text


def test_without_an_interaction_cannot_tell_is_the_answer() -> None:
    text = page_of(LEVEL).text
    assert "No contrast is significant after Holm's correction. That is not evidence of no effect" in text
    assert "Whether the effect of context depends on format cannot be told (" in text


def test_silence_is_said_plainly_and_not_tested() -> None:
    page = page_of(SILENT).text
    section = page[page.index("Variants of ") :]
    assert "No transcript of any variant says so or is flagged, so there is nothing to compare" in page
    assert "zero in every variant" in section
    assert "p 1.000" not in section[: section.index("Controls")]


def test_hostile_names_of_variants_and_factors_stay_text() -> None:
    nasty = "<script>alert(1)</script>"
    arm = replace(PAIRS, variants=((nasty, 0.4), ("neutral", 0.1)))
    page = page_of(arm, designs={arm.suite: Design({"<img src=x>": (nasty, "neutral")})})
    assert "img" not in page.tags
    assert page.tags.count("script") == 1, "the shipped one"
    assert f"{nasty} − neutral" in page.text


def test_a_matched_arm_shows_its_balance_before_and_after_with_what_is_left_uneven() -> None:
    text = page_of(*SHOWCASE, matched=(MATCHED,)).text
    assert "24 of 240 deployment transcripts of synthetic_chat, drawn to resemble synthetic_office in" in text
    assert "(seed 7)" in text
    assert "length 5 200 2 100 4 800 1.20 0.16 even" in text
    assert "turns 2 1.1 1.4 0.90 0.60 uneven" in text
    assert "language de 50 % 10 % 50 % – 0.00 even" in text
    assert "the deployment arm was drawn to match" in text


def test_arms_that_were_not_matched_are_said_to_stand_as_they_came(compared: Words) -> None:
    assert "The deployment arm was not drawn to match the evaluation arm" in compared.text
    assert "The arms are uneven, and the deployment arm was not drawn to match." in compared.text
    assert "drawn to match" not in page_of(PAIRS).text, "one arm is compared with nothing"


@pytest.mark.parametrize(
    ("value", "measure", "shown"),
    [
        (None, VariantMeasure.FLAGGED, "–"),
        (0.0, VariantMeasure.FLAGGED, "0.0"),
        (0.125, VariantMeasure.FLAGGED, "+12.5"),
        (-0.125, VariantMeasure.SAID, "−12.5"),
        (0.0125, VariantMeasure.SCORE, "+0.013"),
    ],
)
def test_differences_carry_their_sign_and_unit(value: float | None, measure: VariantMeasure, shown: str) -> None:
    assert difference(value, measure) == shown


def test_an_interval_of_a_difference_has_signed_ends_and_is_empty_when_withheld() -> None:
    assert difference_interval(Estimate(0.1, -0.05, 0.25, 9, "t"), VariantMeasure.FLAGGED) == "−5.0 to +25.0"
    assert difference_interval(Estimate(0.1, None, None, 3, "t", "few"), VariantMeasure.FLAGGED) == ""
