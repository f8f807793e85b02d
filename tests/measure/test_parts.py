"""An explanation's parts are its lines, else its sentences; reordering moves sentences and loses nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.judging.sentences import sentences
from nla_eval.measure.parts import Parts, masked, reordered


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("user turn 1; now: to\nafter: go to\nabout: trips", ("user turn 1; now: to", "after: go to", "about: trips")),
        ("A chat.\n\nA list of towns.\n\nA name follows.", ("A chat.", "A list of towns.", "A name follows.")),
        ("One thing. Another thing.", ("One thing.", "Another thing.")),
        ("no end", ("no end",)),
        ("", ()),
    ],
)
def test_parts_are_lines_or_else_sentences(text: str, parts: tuple[str, ...]) -> None:
    assert Parts.of(text).texts == parts


def test_removing_a_part_keeps_what_joined_the_others() -> None:
    assert Parts.of("a\nb\nc").without(1) == "a\nc"
    assert Parts.of("a\n\nb\n\nc").without(0) == "b\n\nc"
    assert Parts.of("One. Two. Three.").without(2) == "One. Two."
    assert Parts.of("a\nb").exchanged(0, "x") == "x\nb"


@given(st.lists(st.sampled_from(["Rain fell.", "now: to;", "a b", "What?"]), max_size=6), st.integers(0, 99))
def test_reordering_keeps_every_sentence_and_changes_the_order_where_it_can(lines: list[str], seed: int) -> None:
    text = "\n".join(lines)
    found = reordered(text, seed)
    before, after = ([t[a:b] for a, b in sentences(t)] for t in (text, found))
    assert Counter(before) == Counter(after)
    if len(set(before)) == len(before) > 1:
        assert before != after


def test_masking_hides_every_word_of_the_recent_context_and_no_other() -> None:
    assert masked("after: warm the Oven; next: for", "heat THE oven now") == "after: warm … …; next: for"
