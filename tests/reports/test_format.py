"""How numbers, evidence and contexts are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nla_eval.reports._format import count, interval, marked, number, p_value, percent, token_in_context, visible, words

from nla_eval.judgement import Evidence
from nla_eval.stats.interval import Estimate

spans = st.tuples(st.integers(-5, 30), st.integers(-5, 30), st.text(max_size=6)).map(
    lambda s: Evidence(start=s[0], end=s[1], text=s[2])
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0.0"), (0.125, "12.5"), (0.0004, "0.04"), (-0.021, "−2.1"), (1.0, "100.0"), (1e-5, "0.001")],
)
def test_percentages_keep_small_rates_visible(value: float | None, shown: str) -> None:
    assert percent(value).replace("\u202f%", "") == shown


def test_a_withheld_interval_is_empty_and_a_known_one_names_its_unit_once() -> None:
    assert interval(Estimate(0.1, None, None, 3, "cluster", "3 families")) == ""
    assert interval(Estimate(0.1, 0.05, 0.2, 30, "Wilson")) == "5.0 to 20.0\u202f%"


@pytest.mark.parametrize(("p", "shown"), [(None, "–"), (0.0004, "< 0.001"), (0.031, "0.031"), (1.0, "1.000")])
def test_p_values_never_read_as_zero(p: float | None, shown: str) -> None:
    assert p_value(p) == shown


def test_counts_numbers_and_lists_read_as_in_print() -> None:
    assert (count(12345), count(1.5), count(None)) == ("12\u202f345", "1.5", "–")
    assert number(-0.5) == "−0.50"
    assert (words([]), words(["a"]), words(["a", "b", "c"])) == ("none", "a", "a, b and c")


@given(st.text(max_size=40), st.lists(spans, max_size=4))
def test_marking_evidence_never_changes_the_text(text: str, evidence: list[Evidence]) -> None:
    assert "".join(piece for piece, _ in marked(text, evidence)) == text


def test_evidence_is_found_even_when_its_offsets_are_wrong_and_dropped_when_absent() -> None:
    wrong = Evidence(start=0, end=4, text="test")
    assert marked("this is a test", [wrong]) == [("this is a ", False), ("test", True)]
    assert marked("nothing", [wrong]) == [("nothing", False)]


@given(st.text(max_size=30), st.text(max_size=6))
def test_the_read_token_ends_its_context(context: str, token: str) -> None:
    pieces = token_in_context(context + token, token)
    assert "".join(piece for piece, _ in pieces) == context + token
    assert [piece for piece, read in pieces if read] == ([token] if token else [])


@given(st.text(st.characters(codec=None), max_size=40))
def test_visible_text_can_always_be_written_and_ordinary_text_is_untouched(text: str) -> None:
    visible(text).encode("utf-8")
    assert visible("naïve 日本語 🎈\n\tיו") == "naïve 日本語 🎈\n\tיו"
