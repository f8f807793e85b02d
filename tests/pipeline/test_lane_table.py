"""Each lane is one entry of one table, which decides what can be requested, made, scored and shown."""

from __future__ import annotations

import pytest

from nla_eval.errors import InputError
from nla_eval.inspect_ext.options import TaskOptions
from nla_eval.pipeline.lanes import MAKERS, ControlLanes
from nla_eval.pipeline.plan import Instrument, plan_run
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.readings import DISPLAYED, EXPLAINED, LANES, READABLE, VERBALIZED, Lane, Needs, lanes_in
from tests.fakes import ByteTarget, TinyPack, both_arms

INSTRUMENT = Instrument(ByteTarget(), TinyPack())


def test_every_lane_has_its_entry_and_those_the_verbalizer_reads_have_their_maker() -> None:
    assert set(LANES) == set(READABLE) == set(Lane)
    assert set(MAKERS) == set(VERBALIZED)
    assert set(EXPLAINED) - set(VERBALIZED) == {Lane.TEXT_ONLY, Lane.TEXT_RAW}
    assert set(Lane) - set(EXPLAINED) == {Lane.PROBE, Lane.SETTING, Lane.ASKED}


@pytest.mark.parametrize("lane", [lane for lane in Lane if lane not in VERBALIZED])
def test_a_lane_without_an_activation_in_the_slot_has_no_stand_in(lane: Lane) -> None:
    with pytest.raises(InputError, match="choose among measured, donor, gaussian, mean, no_injection"):
        ControlLanes([], {}, 0).stand_in(plan_run(both_arms(), INSTRUMENT, ReadingPlan()).prepared[0].sites[0], lane)


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        (
            {"lanes": "measured,text_only"},
            "pack 'planted@1' has no text_only adapter; name a chat model with --text-re",
        ),
        ({"lanes": "measured,probe"}, "nla-eval probe train, then give --probe FILE"),
        ({"text_reader": "openai/gpt-5-mini"}, "no effect without lane text_only; add text_only to lanes"),
        ({"probe": "told.safetensors"}, "no effect without lane probe"),
        ({"lanes": "measured,probe", "probe": "nowhere.safetensors"}, "no probe file '.*nowhere.safetensors'"),
    ],
)
def test_a_lane_without_its_reader_or_a_reader_without_its_lane_is_refused_with_the_mend(
    words: dict[str, str], mend: str
) -> None:
    for make in (ReadingPlan.of, lambda words: TaskOptions.parse(words).plan):
        with pytest.raises(InputError, match=mend):
            plan_run(both_arms(), INSTRUMENT, make(words))


@pytest.mark.parametrize(("lane", "word"), [("text_raw", "no_injection"), ("asked", "text_only")])
def test_an_unknown_lane_is_refused_with_those_that_exist(lane: str, word: str) -> None:
    with pytest.raises(InputError, match=f"unknown lane 'shuffled'; known: .*{word}.*{lane}"):
        ReadingPlan(lanes="measured,shuffled")  # type: ignore[arg-type]


def test_only_lanes_that_can_differ_are_drawn_again() -> None:
    plan = ReadingPlan(draws=3)
    draws = {lane: len(plan.draws_of(lane)) for lane in Lane}
    assert draws == dict.fromkeys(VERBALIZED, 3) | {"text_only": 3, "text_raw": 1, "probe": 0, "setting": 0, "asked": 0}


def test_what_is_injected_needs_an_activation_and_what_is_borrowed_is_of_others() -> None:
    assert [lane for lane in VERBALIZED if not LANES[lane].injects] == [Lane.NO_INJECTION]
    assert [lane for lane in VERBALIZED if LANES[lane].borrows] == [Lane.DONOR, Lane.GAUSSIAN, Lane.MEAN]
    assert [lane for lane in VERBALIZED if LANES[lane].real] == [Lane.MEASURED, Lane.DONOR]
    assert LANES[Lane.DONOR].needs is Needs.DONORS


def test_donors_are_not_lent_to_their_own_arm() -> None:
    assert lanes_in(VERBALIZED, "deployment") == tuple(lane for lane in VERBALIZED if lane is not Lane.DONOR)
    assert lanes_in(VERBALIZED, "evaluation") == lanes_in(VERBALIZED, "monitor") == VERBALIZED


def test_what_is_shown_begins_with_the_measured_lane_and_says_what_a_control_is() -> None:
    shown = list(DISPLAYED)
    assert shown[0] is Lane.MEASURED
    for lane in shown[1:]:
        display = DISPLAYED[lane]
        assert display.heading
        assert display.legend
        assert display.beside
        assert display.note
        assert display.limit
