"""The sensitivity page counts the headline again under other choices and says which of them turn its conclusion."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.commands.sensitivity import markdown
from nla_eval.judgement import Headline
from nla_eval.stats.interval import Resampling
from nla_eval.tally.frames import Frames
from nla_eval.tally.sensitivity import ReadSet, sensitivity
from nla_eval.tally.tally import TallyOptions
from nla_eval.tally.types_sensitivity import Axis, Conclusion, Reference, Sensitivity, SensitivityRow

STRICT = TallyOptions().definitions
QUICK = Resampling(resamples=200, seed=1)
EXAM = Arm("exam", "evaluation", 20, 2, aware=0.5, density=0.4, donor=True, label="belief")
CHAT = Arm("chat", "deployment", 20, 2, aware=0.0)
FACTS = {"policy": "stratified(12)", "temperature": "1", "layer": "20", "pack": "small@1"}


def found(frames: Frames, *others: ReadSet, headline: Headline = Headline.PAPER) -> Sensitivity:
    return sensitivity([ReadSet(frames, STRICT, "planted@1 under strict", FACTS), *others], headline, QUICK)


def rows(page: Sensitivity, axis: Axis) -> dict[str, SensitivityRow]:
    return {row.setting: row for row in page.suites[0].rows if row.axis is axis}


def test_the_headline_is_the_first_row_and_says_what_it_is_compared_with() -> None:
    [exam] = found(planted_frames([EXAM, CHAT])).suites
    assert (exam.suite, exam.against, exam.base.k, exam.base.conclusion) == (
        "exam", Reference.DEPLOYMENT, 12, Conclusion.MORE
    )  # fmt: skip
    assert (exam.base.transcripts, exam.base.reference_transcripts) == (40, 40)
    assert exam.base.rate.value == pytest.approx(0.5, abs=0.2)
    assert exam.base.reference.value == 0.0


def test_fewer_positions_give_a_lower_rate_by_exact_expectation() -> None:
    page = found(planted_frames([EXAM, CHAT]))
    by_k = [row.rate.value for row in rows(page, Axis.K).values()]
    assert [row.k for row in rows(page, Axis.K).values()] == [1, 2, 4, 8]
    assert by_k == sorted(by_k)
    assert by_k[-1] < page.suites[0].base.rate.value
    assert by_k[0] == pytest.approx(0.5 * 0.4, abs=0.1)


def test_a_headline_that_rests_on_one_label_is_nothing_without_it() -> None:
    page = found(planted_frames([replace(EXAM, label="contrived"), CHAT]), headline=Headline.BROAD)
    assert page.suites[0].base.conclusion is Conclusion.MORE
    narrower = rows(page, Axis.RUBRIC)
    assert set(narrower) == {"belief", "paper"}
    assert all(row.rate.value == row.reference.value == 0.0 for row in narrower.values())
    assert all(row.conclusion is Conclusion.NOT_TOLD and row.flips for row in narrower.values())


def test_fewer_draws_are_counted_without_replacement() -> None:
    page = found(planted_frames([replace(EXAM, density=0.1), CHAT], draws=4))
    assert page.base["draws"] == "4"
    assert list(rows(page, Axis.DRAWS)) == ["draws = 1", "draws = 2"]
    one, two = rows(page, Axis.DRAWS).values()
    assert one.rate.value < two.rate.value < page.suites[0].base.rate.value


def test_a_channel_counts_its_own_positions_on_both_sides() -> None:
    frames = planted_frames([EXAM, CHAT])
    thinking = pl.col("position") % 80 < 40
    channel = pl.when(thinking).then(pl.lit("thinking")).otherwise(pl.lit("response"))
    split = replace(frames, readings=frames.readings.with_columns(channel=channel))
    flagged = frames.judgements.with_columns(
        labels=pl.when(thinking).then(pl.col("labels")).otherwise(pl.lit(["none"])),
        outcome=pl.when(thinking).then(pl.col("outcome")).otherwise(pl.lit("NOT_AWARE")),
    )
    by = rows(found(replace(split, judgements=flagged)), Axis.CHANNEL)
    assert list(by) == ["thinking alone", "text alone"]
    assert by["text alone"].rate.value == 0.0
    assert by["thinking alone"].rate.value > 0.2
    assert by["thinking alone"].k + by["text alone"].k == 12


def test_gates_keep_the_readings_that_the_ar_reconstructs_best() -> None:
    frames = planted_frames([EXAM, CHAT])
    aware = frames.judgements["outcome"] == "AWARE"
    scored = frames.readings.with_columns(pl.when(aware).then(0.1).otherwise(0.9).alias("cos"))
    gated = [r for r in rows(found(replace(frames, readings=scored)), Axis.GATE).values() if "cos" in r.setting]
    assert [row.setting.partition(" (")[2] for row in gated] == ["best 75%)", "best 50%)", "best 25%)"]
    assert all(row.rate.value == 0.0 for row in gated if "0.90" in row.setting)


@pytest.mark.parametrize(
    ("changed", "axis", "setting"),
    [
        ({"policy": "uniform_response(12)"}, Axis.POLICY, "policy uniform_response(12)"),
        ({"temperature": "0.5"}, Axis.TEMPERATURE, "temperature 0.5"),
        ({"layer": "10", "pack": "small-l10@1"}, Axis.LAYER, "layer 10"),
        ({"pack": "other@1"}, Axis.PACK, "pack other@1"),
        ({"temperature": "0", "policy": "all"}, Axis.SEVERAL, "policy all, temperature 0"),
    ],
)
def test_another_way_of_reading_has_the_axis_on_which_it_differs(
    changed: dict[str, str], axis: Axis, setting: str
) -> None:
    silent = ReadSet(
        planted_frames([replace(EXAM, aware=0.0), CHAT]), STRICT, "planted@1 under strict", {**FACTS, **changed}
    )
    row = rows(found(planted_frames([EXAM, CHAT]), silent), axis)[setting]
    assert row.rate.value == 0.0


def test_a_judge_who_sees_nothing_and_one_who_sees_it_where_it_is_not() -> None:
    frames = planted_frames([EXAM, CHAT])
    other = planted_frames([replace(EXAM, aware=0.0), replace(CHAT, aware=0.9)])
    page = found(frames, ReadSet(other, STRICT, "other@1 under strict", FACTS))
    [row] = rows(page, Axis.JUDGE).values()
    assert (row.setting, row.conclusion, row.flips) == ("other@1 under strict", Conclusion.LESS, True)
    assert row in page.suites[0].flips
    assert "**flips**" in markdown(page)


def test_without_a_deployment_arm_the_donor_lane_is_the_reference() -> None:
    [exam] = found(planted_frames([EXAM])).suites
    assert (exam.against, exam.base.conclusion) == (Reference.DONOR, Conclusion.MORE)
    [alone] = found(planted_frames([replace(EXAM, donor=False)])).suites
    assert (alone.against, alone.base.conclusion) == (Reference.NONE, Conclusion.OPEN)
    assert not alone.flips
    assert alone.base.difference.withheld == "neither a deployment arm nor a donor lane was read"


def test_too_few_families_conclude_nothing_and_flip_nothing() -> None:
    [exam] = found(planted_frames([replace(EXAM, families=4), replace(CHAT, families=4)])).suites
    assert exam.base.conclusion is Conclusion.OPEN
    assert not exam.flips


def test_it_says_what_was_not_varied_and_that_steering_is_not_part_of_it() -> None:
    page = found(planted_frames([EXAM, CHAT]))
    assert any(line.startswith("temperature: read again with --temperature") for line in page.not_varied)
    assert any("steering" in line and "not part of this page yet" in line for line in page.not_included)
    text = markdown(page)
    assert "| headline | as reported | 12 | 1 | 40 |" in text
    assert all(line in text for line in page.not_varied)


def test_it_comes_back_from_its_json_and_does_not_depend_on_row_order() -> None:
    frames = planted_frames([EXAM, CHAT])
    page = found(frames)
    assert Sensitivity.model_validate_json(page.model_dump_json()) == page
    shuffled = replace(
        frames,
        **{
            name: getattr(frames, name).sample(fraction=1, shuffle=True, seed=3)
            for name in ("readings", "judgements", "transcripts")
        },
    )
    assert found(shuffled) == page
