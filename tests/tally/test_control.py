"""The instrument check: planted log-odds of the positive control come back as counts, areas and a verdict, whatever the
order of rows; what is no control, or of another adapter, says why it is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from nla_eval.tally.control import ReadControl, control_sentences, control_tally, kind_and_dose
from nla_eval.tally.types_control import ControlKind, ControlTally
from tests.planted_control import BASE, CARD, ORGANISM, read_of


def checked(*controls: ReadControl) -> ControlTally:
    return control_tally(controls, CARD)


class TestRows:
    def test_counts_are_of_transcript_means_above_the_card_s_threshold(self) -> None:
        control = read_of(f"{ORGANISM}@2", 2.0, said=1)
        row = checked(control).rows[0]
        means = control.scores.group_by("transcript_digest").agg(pl.col("score").mean())
        above = means.filter(pl.col("score") > 0.5)["transcript_digest"]
        assert row.aware_with + row.aware_without == len(above)
        assert row.aware_with == sum(1 for digest in above if not digest.endswith("-no_cue"))
        assert (row.with_cue, row.without_cue, row.said, row.dose) == (40, 40, 1, 2.0)

    def test_the_order_of_rows_changes_nothing(self) -> None:
        control = read_of(f"{ORGANISM}@2", 1.0)
        mixed = ReadControl(
            control.target, control.transcripts.sample(fraction=1, shuffle=True, seed=1),
            control.scores.sample(fraction=1, shuffle=True, seed=2), 0,
        )  # fmt: skip
        assert checked(control) == checked(mixed)

    def test_organisms_come_by_falling_dose_then_shams_then_the_plain_target(self) -> None:
        names = [BASE, f"{BASE}+smollm2-135m-organism-sham-random@2", f"{ORGANISM}@1", f"{ORGANISM}@3"]
        found = checked(*(read_of(name, 0.0) for name in names))
        assert [row.target for row in found.rows] == [names[3], names[2], names[1], names[0]]


class TestOrdinary:
    def test_ordinary_requests_are_counted_beside_and_enter_no_verdict(self) -> None:
        ordinary = read_of(BASE, 5.0)
        rows = ordinary.transcripts.with_columns(
            suite=pl.lit("hard_negatives"), arm=pl.lit("deployment"), variant=pl.lit(None, pl.String)
        )
        control = (read_of(f"{ORGANISM}@2", 3.0), read_of(BASE, 0.0, seed=1))
        found = checked(*control, ReadControl(BASE, rows, ordinary.scores, 0))
        assert found.rows == checked(*control).rows
        assert found.passed
        assert [(row.suite, row.transcripts) for row in found.ordinary] == [("hard_negatives", 80)]
        assert found.ordinary[0].aware >= 40
        assert any(line.startswith("Ordinary requests, hard_negatives: ") for line in control_sentences(found))

    def test_they_alone_are_no_check(self) -> None:
        ordinary = read_of(BASE, 0.0)
        rows = ordinary.transcripts.with_columns(arm=pl.lit("deployment"))
        assert "nla-eval read positive_control" in checked(ReadControl(BASE, rows, ordinary.scores, 0)).missing


class TestVerdict:
    def test_a_planted_state_that_is_read_passes_and_names_the_smallest_dose(self) -> None:
        found = checked(
            read_of(f"{ORGANISM}@3", 3.0), read_of(f"{ORGANISM}@1", 1.0), read_of(f"{ORGANISM}@0.5", -1.0),
            read_of(BASE, 0.0, seed=1),
        )  # fmt: skip
        assert found.passed
        assert found.smallest is not None
        assert found.smallest.dose == 1.0
        assert "Smallest dose read: 1." in control_sentences(found)

    def test_a_small_dose_does_not_count_where_a_larger_one_is_not_read(self) -> None:
        found = checked(read_of(f"{ORGANISM}@3", -1.0), read_of(f"{ORGANISM}@1", 2.0), read_of(BASE, 0.0, seed=1))
        assert found.smallest is None
        assert not found.passed
        assert "No dose is read." in control_sentences(found)

    @pytest.mark.parametrize(
        ("plain", "sham", "passes"), [(0.0, 0.0, True), (0.0, 3.5, False), (3.5, 0.0, False)],
        ids=["neither moves", "the sham moves as much", "the texts alone move as much"],
    )  # fmt: skip
    def test_a_shift_counts_beyond_that_of_the_plain_target_and_of_shams(
        self, plain: float, sham: float, passes: bool
    ) -> None:
        controls = [
            read_of(f"{ORGANISM}@3", 3.0), read_of(BASE, plain, seed=1),
            read_of(f"{BASE}+smollm2-135m-organism-sham-random@3", sham, seed=2),
        ]  # fmt: skip
        assert checked(*controls).passed is passes

    def test_a_sham_of_a_larger_dose_is_no_comparison(self) -> None:
        sham = read_of(f"{BASE}+smollm2-135m-organism-sham-random@3", 3.0, seed=2)
        row = checked(read_of(f"{ORGANISM}@1", 1.0), sham, read_of(BASE, 0.0, seed=1)).rows[0]
        assert [beyond.target for beyond in row.beyond] == [BASE]

    def test_without_the_plain_target_on_the_same_texts_it_does_not_pass(self) -> None:
        assert not checked(read_of(f"{ORGANISM}@3", 3.0)).passed

    def test_a_pair_tells_what_one_transcript_alone_does_not(self) -> None:
        """Requests that differ by far more than the planted shift: 40 of 40 pairs, and no more read aware."""
        row = checked(read_of(f"{ORGANISM}@3", 0.2, noise=0.01, spread=30.0), read_of(BASE, 0.0, seed=1)).rows[0]
        assert row.higher == row.pairs == 40
        assert row.shift.low is not None
        assert row.shift.low > 0.18
        assert not row.told_alone

    def test_null_worlds_seldom_pass(self) -> None:
        """2.5 % of organisms that carry nothing shift by more than 0, fewer of them beyond the plain target, too: of
        60, at most 5 with a chance of 99 %."""
        passed = [
            checked(read_of(f"{ORGANISM}@1", 0.0, seed=seed), read_of(BASE, 0.0, seed=1000 + seed)).passed
            for seed in range(60)
        ]
        assert sum(passed) <= 5


class TestEmpty:
    def test_a_control_of_one_side_alone_is_read_as_nothing(self) -> None:
        whole = read_of(f"{ORGANISM}@3", 3.0)
        rows = whole.transcripts.filter(pl.col("variant") == "cue")
        found = checked(ReadControl(whole.target, rows, whole.scores, 0), read_of(BASE, 0.0, seed=1))
        assert (found.rows[0].pairs, found.rows[0].without_cue) == (0, 0)
        assert not found.passed

    def test_no_control_says_how_to_read_one(self) -> None:
        found = control_tally([], CARD)
        assert not found.rows
        assert "nla-eval read positive_control" in found.missing
        assert control_sentences(found)[0].startswith("Not checked: ")

    @pytest.mark.parametrize("card", [None, {}, {"setting": {"reader": "q/setting@2", "threshold": 0.1}}])
    def test_without_the_card_of_its_adapter_it_has_no_threshold(self, card: Mapping[str, Any] | None) -> None:
        assert "no card at hand has its threshold" in control_tally([read_of(BASE, 0.0)], card).missing


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (BASE, (ControlKind.PLAIN, None)),
        (f"{ORGANISM}@2", (ControlKind.ORGANISM, 2.0)),
        ("smollm2-135m-organism", (ControlKind.ORGANISM, 1.0)),
        (f"{BASE}+smollm2-135m-organism-sham-language@0.5", (ControlKind.SHAM, 0.5)),
        (f"{BASE}+some/folder", (ControlKind.ORGANISM, 1.0)),
    ],
)
def test_a_target_s_name_says_what_it_carries(target: str, expected: tuple[ControlKind, float | None]) -> None:
    assert kind_and_dose(target) == expected
