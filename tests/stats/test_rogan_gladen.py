"""Corrected rates come back to what was planted, with the error of the calibration in the interval."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from nla_eval.stats.corrected import corrected_fraction
from nla_eval.stats.rogan_gladen import Calibration, label_split, rogan_gladen
from nla_eval.stats.transcript_calibration import TranscriptFlags, corrected_prevalence
from nla_eval.stats.wilson import wilson


def within(hits: int, of: int, low: float, high: float = 1.0) -> bool:
    """Whether a coverage lies in [low, high] up to two Monte Carlo errors."""
    error = 2 * sqrt(0.05 * 0.95 / of)
    return low - error <= hits / of <= high + error


def test_a_worked_example_agrees_with_the_published_formula() -> None:
    found = rogan_gladen(30, 100, Calibration(45, 50, 190, 200))
    assert found.value == pytest.approx((0.3 + 0.95 - 1) / (0.9 + 0.95 - 1))
    assert (found.low, found.high) == (pytest.approx(0.1933, abs=1e-3), pytest.approx(0.4225, abs=1e-3))


@pytest.mark.parametrize(
    ("share", "sensitivity", "specificity"), [(0.3, 0.65, 0.98), (0.05, 0.9, 0.9), (0.6, 0.8, 0.95)]
)
def test_the_interval_covers_where_the_uncorrected_one_does_not(share, sensitivity, specificity) -> None:
    rng, corrected, naive, runs = np.random.default_rng(1), 0, 0, 500
    for _ in range(runs):
        flagged = int(rng.binomial(300, share * sensitivity + (1 - share) * (1 - specificity)))
        known = Calibration(int(rng.binomial(60, sensitivity)), 60, int(rng.binomial(90, specificity)), 90)
        found, raw = rogan_gladen(flagged, 300, known), wilson(flagged, 300)
        corrected += found.low <= share <= found.high
        naive += raw.low <= share <= raw.high
    assert within(corrected, runs, 0.93, 0.99)
    assert naive / runs < 0.7


def test_a_larger_calibration_narrows_the_interval() -> None:
    few, many = (rogan_gladen(300, 1000, Calibration(8 * m, 10 * m, 9 * m, 10 * m)) for m in (1, 20))
    assert few.high - few.low > 2 * (many.high - many.low)


@pytest.mark.parametrize(
    ("calibration", "reason"),
    [
        (Calibration(3, 10, 8, 10), "sensitivity + specificity - 1 is 0.10; a correction needs at least 0.2"),
        (Calibration(0, 0, 8, 10), "the calibration lacks known positives or known negatives"),
    ],
)
def test_a_classifier_that_says_too_little_is_not_corrected(calibration: Calibration, reason: str) -> None:
    found = rogan_gladen(5, 10, calibration)
    assert (found.value, found.withheld) == (None, reason)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="within positives"):
        Calibration(5, 4, 1, 1)
    with pytest.raises(ValueError, match="flagged"):
        rogan_gladen(5, 4, Calibration(1, 1, 1, 1))


def test_labels_go_where_the_error_is() -> None:
    assert label_split(0.1, 0.8, 0.8) == pytest.approx(0.1)
    assert label_split(0.5, 0.6, 0.99) > 0.8
    assert label_split(0.3, 1.0, 1.0) == 0.5


def clustered(rng: np.random.Generator, groups: int, size: int, rate: float) -> tuple[list[bool], list[int]]:
    own = np.repeat(rng.beta(rate * 4, (1 - rate) * 4, groups), size)
    return (rng.random(groups * size) < own).tolist(), np.repeat(np.arange(groups), size).tolist()


def test_a_fraction_over_families_is_corrected_with_their_design_effect() -> None:
    rng, hits, bare, runs, share = np.random.default_rng(2), 0, 0, 300, 0.3
    for _ in range(runs):
        aware, families = clustered(rng, 30, 5, share)
        fractions = [rng.binomial(12, 0.7 if a else 0.05) / 12 for a in aware]
        known = Calibration(int(rng.binomial(80, 0.7)), 80, int(rng.binomial(120, 0.95)), 120)
        found = corrected_fraction(fractions, families, known)
        hits += found.low <= share <= found.high
        units = 12 * len(fractions)
        alone = rogan_gladen(sum(fractions) * 12, units, known)
        bare += alone.low <= share <= alone.high
    assert within(hits, runs, 0.93)
    assert bare < hits


def test_a_corrected_fraction_of_many_positions_is_not_held_to_the_error_of_one() -> None:
    rng, hits, runs, share = np.random.default_rng(4), 0, 300, 0.5
    for _ in range(runs):
        aware, families = clustered(rng, 40, 3, share)
        fractions = [rng.binomial(12, 0.4 if a else 0.02) / 12 for a in aware]
        known = Calibration(int(rng.binomial(2000, 0.7)), 2000, int(rng.binomial(2000, 0.99)), 2000)
        found = corrected_fraction(fractions, families, known)
        truth = (0.5 * 0.4 + 0.5 * 0.02 - 0.01) / 0.69
        hits += found.low <= truth <= found.high
    assert within(hits, runs, 0.93)
    assert hits / runs < 0.985  # 1.0 where the effective units are capped at the transcripts


def test_any_of_k_is_corrected_by_whole_transcripts_and_not_by_single_explanations() -> None:
    rng, hits, runs, share, recall, false = np.random.default_rng(3), 0, 300, 0.3, 0.8, 0.15
    for _ in range(runs):
        aware, families = clustered(rng, 40, 4, share)
        flags = [bool(rng.random() < (recall if a else false)) for a in aware]
        parts = [TranscriptFlags(*clustered(rng, 20, 4, rate), 12, 1) for rate in (recall, false)]
        found = corrected_prevalence(TranscriptFlags(flags, families, 12, 1), *parts)
        hits += found.low <= share <= found.high
    assert within(hits, runs, 0.93)


def test_a_calibration_at_another_k_or_without_transcripts_is_refused() -> None:
    run = TranscriptFlags([True, False], ["a", "b"], 12, 1)
    other = TranscriptFlags([True, False], ["a", "b"], 50, 1)
    assert "read differently: k = 12 with 1 draws, k = 50" in corrected_prevalence(run, other, run).withheld
    assert "all needed" in corrected_prevalence(run, run, TranscriptFlags([], [], 12, 1)).withheld
