"""A calibration file is written by `validate merge` and read by reports: its counts, and what it refuses."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nla_eval.errors import InputError
from nla_eval.judgement import Headline
from nla_eval.judging.calibration import (
    CalibrationFile,
    CalibrationRow,
    Counts,
    error_counts,
    read_calibration,
    write_calibration,
)
from nla_eval.judging.error_rates import ErrorCounts

ROW = CalibrationRow(
    kind="turn",
    headline=Headline.PAPER,
    raw=Counts(hits=40, positives=50, false=10, negatives=150),
    weighted=Counts(hits=40, positives=80, false=10, negatives=5000),
    effective_positives=20,
    effective_negatives=100,
)
FILE = CalibrationFile(
    classifier="linear@3",
    rubric="strict@0",
    labelled_by=["Ada", "Ben"],
    made=date(2026, 11, 30),
    sheet="0123456789ab",
    labelled=200,
    rows=[ROW],
)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    write_calibration(tmp_path / "c.json", FILE)
    assert read_calibration(tmp_path / "c.json") == FILE


def test_rates_are_weighted_and_worth_the_effective_number_of_labels() -> None:
    exact = ROW.as_calibration()
    assert (exact.sensitivity, exact.positives) == (0.5, 20)
    assert (exact.specificity, exact.negatives) == (pytest.approx(0.998), 100)
    expected = ErrorCounts(hits=10, positives=20, false=0, negatives=100, ordinary_false=0, ordinary=0)
    assert FILE.errors() == {("turn", Headline.PAPER): expected}


def test_it_is_used_for_its_own_classifier_and_rubric_alone() -> None:
    other = FILE.model_copy(update={"classifier": "lexicon@1"})
    assert error_counts([other, FILE], "linear@3", "strict@0") == FILE.errors()
    assert error_counts([FILE], "linear@3", "strict@1") is None
    with pytest.raises(InputError, match=r"2 calibrations are of linear@3"):
        error_counts([FILE, FILE], "linear@3", "strict@0")
    FILE.expect("linear@3", "strict@0")
    with pytest.raises(InputError, match=r"is of linear@3 under strict@0, the judgements are by llm@2 under strict@0"):
        FILE.expect("llm@2", "strict@0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("nonsense", "JSON"),
        ("{}", "classifier: Field required"),
        (FILE.model_dump_json().replace('"hits":40.0', '"hits":90.0'), "hits must lie within positives"),
        (FILE.model_copy(update={"rows": [ROW, ROW]}).model_dump_json(), "each kind and headline once"),
        (FILE.model_dump_json().replace('"format":1', '"format":2'), "Input should be 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_calibration(tmp_path / "c.json")
    assert "\n" not in str(caught.value)
