"""Sentence and window spans."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_eval.judging.sentences import sentences, windows

TEXTS = st.text(alphabet=st.sampled_from('ab .!?;\n"é。\u2028'), max_size=200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("assistant turn 2; list; about boots", ["assistant turn 2;", "list;", "about boots"]),
        ("Genre line\n\nSecond paragraph", ["Genre line", "Second paragraph"]),
        ("He said 'stop.' Then he left.", ["He said 'stop.'", "Then he left."]),
        ("Some, e.g. apples, are red.", ["Some, e.g. apples, are red."]),
        (" \n ", []),
    ],
)
def test_sentences_end_at_stops_semicolons_and_line_breaks(text: str, expected: list[str]) -> None:
    assert [text[s:e] for s, e in sentences(text)] == expected


@settings(deadline=None)
@given(TEXTS)
def test_sentences_are_ordered_trimmed_and_lose_nothing_but_space(text: str) -> None:
    spans = sentences(text)
    assert "".join("".join(text[s:e] for s, e in spans).split()) == "".join(text.split())
    assert all(text[s:e] == text[s:e].strip() != "" for s, e in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


@settings(deadline=None)
@given(TEXTS, st.integers(8, 60))
def test_windows_are_bounded_ordered_and_cover_every_character(text: str, limit: int) -> None:
    spans = windows(text, limit)
    covered = {i for s, e in spans for i in range(s, e)}
    assert all(0 < e - s <= limit for s, e in spans)
    assert all(i in covered for i, c in enumerate(text) if not c.isspace())
    assert spans == sorted(spans)


def test_a_sentence_at_a_window_border_is_whole_in_some_window() -> None:
    text = " ".join(f"This is sentence number {i}." for i in range(40))
    spans = windows(text, 100)
    for s, e in sentences(text):
        assert any(ws <= s and e <= we for ws, we in spans)
