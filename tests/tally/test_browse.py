"""The transcripts of a report: the choice is fair, and read tokens stand where they stood."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import SHOWCASE, Arm
from planted_chats import Chats, planted_chats

from nla_eval.judgement import Headline, Outcome
from nla_eval.tally import browse as browse_module
from nla_eval.tally.browse import BrowseOptions, browse
from nla_eval.tally.browsed import Browse, Why
from nla_eval.tally.placing import place
from nla_eval.tally.tally import TallyOptions
from nla_eval.tally.verdicts import verdicts

DEFINITIONS = TallyOptions().definitions
CROWD = [
    Arm("exam", "evaluation", 40, 1, 0.9, density=0.3, donor=True),
    Arm("quiet", "evaluation", 40, 1, 0.0),
    Arm("chat", "deployment", 40, 1, 0.0, false_positive=0.01),
]


@cache
def chats() -> Chats:
    return planted_chats(SHOWCASE)


def browsed(limit: int = 200, seed: int = 0, arms: list[Arm] | None = None) -> Browse:
    found = planted_chats(arms) if arms else chats()
    return browse(verdicts(found.frames, DEFINITIONS), found.messages, BrowseOptions(limit=limit, seed=seed))


def test_every_transcript_is_there_where_all_fit() -> None:
    found = browsed()
    assert len(found.transcripts) == found.total == chats().frames.transcripts.height
    assert found.every_reading
    assert sum(len(p.readings) for t in found.transcripts for p in t.positions) == chats().frames.readings.height


def test_flagged_ones_come_first_and_as_many_unflagged_ones_of_the_same_suites_with_them() -> None:
    found = browsed(limit=40, arms=CROWD)
    assert len(found.transcripts) == 40
    assert found.flagged > 20
    assert found.counts[Why.FLAGGED] == 20
    assert found.counts[Why.MATCHED] > 0
    flagged = {t.suite for t in found.transcripts if t.why is Why.FLAGGED}
    assert flagged == {"exam", "chat"}, "false alarms in ordinary chats have as much room as claims"
    assert {t.suite for t in found.transcripts if t.why is Why.MATCHED} <= flagged
    assert all(t.measured is not True and t.said is not True for t in found.transcripts if t.why is not Why.FLAGGED)


def test_the_choice_depends_on_keys_and_seed_alone() -> None:
    found = chats()
    shuffled = replace(
        found.frames,
        readings=found.frames.readings.sample(fraction=1, shuffle=True, seed=3),
        transcripts=found.frames.transcripts.sample(fraction=1, shuffle=True, seed=4),
    )
    again = browse(verdicts(shuffled, DEFINITIONS), found.messages, BrowseOptions(limit=20))
    assert again == browsed(limit=20)
    assert browsed(limit=20, seed=5) != browsed(limit=20)


def test_where_not_all_readings_fit_flagged_positions_stay_and_a_dozen_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse_module, "EVERY_READING", 10)
    monkeypatch.setattr(browse_module, "DOZEN", 3)
    found = browsed()
    monkeypatch.setattr(browse_module, "EVERY_READING", 10**9)
    all_of_them = {t.digest: t for t in browsed().transcripts}
    assert not found.every_reading
    for transcript in found.transcripts:
        whole = all_of_them[transcript.digest].positions
        flagged = {p.position for p in whole if any(Headline.BROAD in r.headlines for r in p.readings)}
        kept = {p.position for p in transcript.positions}
        assert flagged <= kept
        assert len(kept - flagged) == min(3, len(whole) - len(flagged))


def test_every_read_token_is_found_where_it_stood() -> None:
    for transcript in browsed().transcripts:
        parts = {m.index: m.parts for m in transcript.messages}
        for at in transcript.positions:
            message, kind, end = chats().spans[transcript.digest, at.position]
            assert at.part is not None
            part = parts[at.message][at.part]
            assert (at.message, part.kind, at.end) == (message, kind, end)
            assert part.text[at.start : at.end] == at.token


def test_a_position_carries_its_draws_lanes_reason_and_percentile() -> None:
    found = planted_chats(SHOWCASE, draws=2)
    made = browse(verdicts(found.frames, DEFINITIONS), found.messages)
    aware = [p for t in made.transcripts for p in t.positions if p.outcome is Outcome.AWARE]
    assert aware
    for at in aware:
        assert [r.lane for r in at.readings] == sorted((r.lane for r in at.readings), key=["measured", "donor"].index)
        flag = next(r for r in at.readings if r.outcome is Outcome.AWARE)
        assert flag.reason == "names a test of the model"
        assert flag.ar_percentile is not None
        assert 0 < flag.ar_percentile < 100
        assert flag.evidence
    donors = [r.donor for t in made.transcripts for p in t.positions for r in p.readings if r.lane == "donor"]
    assert all(donor.startswith("synthetic-") for donor in donors)


def test_what_the_target_says_is_marked_in_its_own_turn() -> None:
    said = [t for t in browsed().transcripts if t.said]
    assert said
    for transcript in said:
        spans = [(p.text[e.start : e.end], e.text) for m in transcript.messages for p in m.parts for e in p.said]
        assert spans
        assert all(cut == text for cut, text in spans)
        assert {m.author for m in transcript.messages if m.index == 2} == {"target"}


def test_a_transcript_whose_conversation_is_not_at_hand_is_still_there() -> None:
    made = browse(verdicts(chats().frames, DEFINITIONS), {})
    assert len(made.transcripts) == made.total
    assert all(not t.messages and all(p.part is None for p in t.positions) for t in made.transcripts)


@pytest.mark.parametrize(
    ("text", "context", "token", "after", "span"),
    [
        ("one two three", "<|user|>hi<|assistant|>one two", " two", 0, (3, 7)),
        ("  one two", "<|assistant|>one", "one", 0, (2, 5)),
        ("a b a b", "a b", " b", 3, (5, 7)),
        ("a b a b", "a b", " b", 0, (1, 3)),
        ("words", "<|im_end|>\n", "\n", 0, None),
        ("words", "other wards", " wards", 0, None),
        ("", "x", "x", 0, None),
    ],
)
def test_a_token_is_placed_by_its_context_or_not_at_all(text, context, token, after, span) -> None:
    assert place(text, context, token, after) == span


@given(st.text(min_size=1), st.data())
def test_a_placed_token_is_its_own_text(text: str, data: st.DataObject) -> None:
    end = data.draw(st.integers(1, len(text)))
    start = data.draw(st.integers(max(0, end - 5), end - 1))
    rendered = f"<|user|>{text[:end]}"[-240:]
    found = place(text, rendered, text[start:end])
    assert found is None or text[found[0] : found[1]] == text[start:end]
