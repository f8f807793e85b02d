"""Each lane is one entry of one table, which decides what can be requested, made, scored and shown."""

from __future__ import annotations

import pytest

from nla_eval.errors import InputError
from nla_eval.inspect_ext.options import TaskOptions
from nla_eval.pipeline.lanes import MAKERS, ControlLanes
from nla_eval.pipeline.plan import Instrument, plan_run
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.readings import DISPLAYED, LANES, READABLE, Lane, Needs, lanes_in
from tests.fakes import ByteTarget, TinyPack, both_arms

UNREADABLE = [lane for lane in Lane if lane not in READABLE]


def test_every_lane_has_its_entry_and_those_the_verbalizer_reads_have_their_maker() -> None:
    assert set(LANES) == set(Lane)
    assert set(MAKERS) == set(READABLE)
    assert set(UNREADABLE) == {Lane.TEXT_ONLY, Lane.PROBE}


@pytest.mark.parametrize("lane", UNREADABLE)
def test_a_lane_that_cannot_be_read_is_neither_offered_nor_taken(lane: Lane) -> None:
    asked = {"lanes": f"measured,{lane}"}
    for make in (ReadingPlan.of, TaskOptions.parse):
        with pytest.raises(InputError, match=f"unknown lane '{lane}'") as caught:
            make(asked)
        assert f", {lane}" not in str(caught.value)
    with pytest.raises(InputError, match="choose among measured, donor, gaussian, mean, no_injection"):
        ControlLanes([], {}, 0).stand_in(plan_run(both_arms(), INSTRUMENT, ReadingPlan()).prepared[0].sites[0], lane)


INSTRUMENT = Instrument(ByteTarget(), TinyPack())


def test_what_is_injected_needs_an_activation_and_what_is_borrowed_is_of_others() -> None:
    assert [lane for lane in READABLE if not LANES[lane].injects] == [Lane.NO_INJECTION]
    assert [lane for lane in READABLE if LANES[lane].borrows] == [Lane.DONOR, Lane.GAUSSIAN, Lane.MEAN]
    assert [lane for lane in READABLE if LANES[lane].real] == [Lane.MEASURED, Lane.DONOR]
    assert LANES[Lane.DONOR].needs is Needs.DONORS


def test_donors_are_not_lent_to_their_own_arm() -> None:
    assert lanes_in(READABLE, "deployment") == tuple(lane for lane in READABLE if lane is not Lane.DONOR)
    assert lanes_in(READABLE, "evaluation") == lanes_in(READABLE, "monitor") == READABLE


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
