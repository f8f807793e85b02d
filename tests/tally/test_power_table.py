"""What a run can tell: from given numbers, and from what was read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from planted import Arm, planted_frames

from nla_eval.commands.power import PowerRequest, run, table_of
from nla_eval.errors import InputError
from nla_eval.judgement import Headline
from nla_eval.stats.anyk import implied_any_of_k
from nla_eval.stats.power import Design, smallest_rate
from nla_eval.tally.power import Asked, RunSize, power_table, sizes_of
from nla_eval.tally.tally import TallyOptions

STRICT = TallyOptions().definitions
BARE = RunSize(families=100, k=50, false_positive_rate=0.005, position_correlation=0.0, family_correlation=0.0)


def test_false_positives_grow_with_positions_and_draws() -> None:
    assert BARE.baseline == pytest.approx(implied_any_of_k(0.005, 50))
    two = replace(BARE, draws=2, draw_correlation=0.0)
    assert two.baseline == pytest.approx(implied_any_of_k(0.005, 100))
    assert replace(two, draw_correlation=1.0).baseline == pytest.approx(BARE.baseline)


def test_a_run_that_tells_from_zero_may_not_tell_from_its_false_positives() -> None:
    [found] = power_table([BARE], Asked()).suites
    assert found.from_zero.rate == pytest.approx(smallest_rate(Design(100, k=50, family_correlation=0)).rate)
    assert found.from_zero.rate < 0.02
    assert found.from_false_positives.rate > found.baseline > 0.2
    small = next(row for row in found.needed if row.rate == 0.05)
    assert small.families_from_zero == small.transcripts_from_zero == 32
    assert small.transcripts_from_false_positives is None
    assert [c.families for c in found.certificate] == [59, 299]


def test_the_size_of_a_run_is_counted_and_its_correlations_measured() -> None:
    arms = [
        Arm("exam", "evaluation", 30, 2, aware=0.5, density=0.5, donor=True, positions=8),
        Arm("chat", "deployment", 40, 1, aware=0.0, false_positive=0.02, positions=8),
    ]
    frames = planted_frames(arms, draws=2)
    chat, exam = sizes_of(frames, STRICT, Headline.PAPER, RunSize(families=1))
    assert (exam.suite, exam.families, exam.per_family, exam.k, exam.draws) == ("exam", 30, 2, 8, 2)
    assert (chat.families, chat.per_family) == (40, 1)
    assert exam.false_positive_rate == chat.false_positive_rate == pytest.approx(0.02, abs=0.015)
    assert "position_correlation" in exam.measured
    assert 0.2 < exam.position_correlation < 0.8


def test_without_flags_correlations_are_the_assumed_ones() -> None:
    frames = planted_frames([Arm("chat", "deployment", 20, 1, aware=0.0)])
    [chat] = sizes_of(frames, STRICT, Headline.PAPER, RunSize(families=1, position_correlation=0.33))
    assert chat.position_correlation == 0.33
    assert "position_correlation" not in chat.measured
    assert chat.false_positive_rate == 0.0


def test_numbers_alone_make_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    request = PowerRequest(given={"families": 40, "per_family": 3, "k": 50, "false_positive_rate": 0.002})
    run(request, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["suites"][0]["transcripts"] == 120
    assert table_of(request).model_dump(mode="json") == printed
    run(request, as_json=False)
    told = capsys.readouterr().out
    assert "told from 0" in told
    assert "To certify fewer than 1% false flags: 299 deployment families" in told


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (PowerRequest(), "stores or logs, or the number of prompt families: --families 50"),
        (PowerRequest(given={"families": 0}), "--families 0; expected a whole number of at least 1"),
        (PowerRequest(given={"families": 9, "false_positive_rate": 2}), "--false-positive-rate 2; expected a number"),
        (PowerRequest(given={"families": 9, "draw_correlation": float("nan")}), "--draw-correlation nan; expected"),
        (PowerRequest(given={"families": 9}, asked=Asked(rates=(0.0,))), "--rate 0; expected a number between 0 and 1"),
        (PowerRequest(inputs=("x",), headline="all"), "--headline 'all'; expected one of belief, paper, broad"),
    ],
)
def test_a_number_out_of_range_is_one_line_with_its_option(request_: PowerRequest, said: str) -> None:
    with pytest.raises(InputError, match=said):
        table_of(request_)
