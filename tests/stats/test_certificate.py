"""Certificates hold over families: at a true 5 % hardly a world is certified below it, however its families cluster."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.stats.certificate import beta_binomial_bound, certify, certify_threshold, families_needed
from nla_eval.stats.zero import upper_bound

RATE = 0.05


def world(rng: np.random.Generator, groups: int, kind: str) -> tuple[list[bool], list[int]]:
    """Unequal families with a mean rate of 5 %: alike inside to a degree, or flagged as a whole."""
    own = rng.random(groups) < RATE if kind == "whole" else rng.beta(RATE * 3, (1 - RATE) * 3, groups)
    sizes = rng.integers(1, 8, groups)
    families = np.repeat(np.arange(groups), sizes)
    return (rng.random(len(families)) < own[families]).tolist(), families.tolist()


def wrongly(runs: int, groups: int, kind: str, seed: int) -> tuple[float, float, float]:
    """Share of worlds certified by family, by the beta-binomial bound, and by counting transcripts."""
    rng, found = np.random.default_rng([seed, groups]), np.zeros(3)
    for _ in range(runs):
        flags, families = world(rng, groups, kind)
        bounds = (beta_binomial_bound(flags, families), upper_bound(sum(flags), len(flags)))
        found += [certify(flags, families).certified, *(bound < RATE for bound in bounds)]
    return tuple(found / runs)


@pytest.mark.parametrize("kind", ["whole", "beta"])
@pytest.mark.parametrize("groups", [10, 30, 60])
def test_a_true_five_percent_is_hardly_ever_certified_below_it(groups: int, kind: str) -> None:
    by_family, beta_binomial, _ = wrongly(100, groups, kind, 1)
    assert max(by_family, beta_binomial) <= 0.05 + 2 * sqrt(0.05 * 0.95 / 100)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["whole", "beta"])
@pytest.mark.parametrize("groups", [10, 20, 30, 60, 100])
def test_the_certificate_keeps_its_level_in_many_worlds(groups: int, kind: str) -> None:
    by_family, beta_binomial, _ = wrongly(2000, groups, kind, 2)
    assert max(by_family, beta_binomial) <= 0.05 + 2 * sqrt(0.05 * 0.95 / 2000)


def test_counting_transcripts_certifies_wrongly() -> None:
    assert wrongly(100, 30, "whole", 3)[2] > 0.12


@pytest.mark.parametrize(("flagged", "needed"), [(0, 59), (1, 93), (2, 124)])
def test_the_smallest_number_of_families_that_would_do_is_named(flagged: int, needed: int) -> None:
    assert families_needed(flagged, 0.05) == needed
    for groups, certified in ((needed, True), (needed - 1, False)):
        flags = [i < flagged for i in range(groups)]
        found = certify(flags, range(groups))
        assert (found.certified, found.needed) == (certified, needed)


def test_many_transcripts_of_few_families_certify_nothing() -> None:
    found = certify([False] * 1000, [i % 20 for i in range(1000)])
    assert (found.certified, found.families, found.bound) == (False, 20, pytest.approx(upper_bound(0, 20)))


@pytest.mark.parametrize("undecided", ["flagged", "left out"])
def test_undecided_transcripts_never_certify(undecided) -> None:
    found = certify([None] * 500, range(500), undecided=undecided)
    assert (found.certified, found.reason) == (False, "every transcript is undecided")
    assert beta_binomial_bound([None] * 50, range(50), undecided=undecided) == 1.0


def test_an_undecided_transcript_counts_as_flagged_unless_told_otherwise() -> None:
    flags = [False] * 80 + [None] * 2
    assert certify(flags, range(82)).flagged_families == 2
    assert not certify(flags, range(82)).certified
    assert certify(flags, range(82), undecided="left out").certified


def test_the_beta_binomial_bound_is_tighter_where_families_are_flagged_in_part_and_the_same_without_a_flag() -> None:
    families = [i // 4 for i in range(200)]
    one, none = [i == 0 for i in range(200)], [False] * 200
    assert beta_binomial_bound(one, families) < 0.7 * certify(one, families).bound
    assert beta_binomial_bound(none, families) == certify(none, families).bound


@given(st.integers(1, 40), st.integers(1, 40))
def test_for_single_transcripts_the_beta_binomial_bound_is_the_exact_one(flagged: int, clean: int) -> None:
    flags = [True] * flagged + [False] * clean
    bound = beta_binomial_bound(flags, range(len(flags)))
    assert bound == pytest.approx(upper_bound(flagged, len(flags)), abs=1e-3)


def test_a_threshold_is_set_on_some_families_and_certified_on_others() -> None:
    rng = np.random.default_rng(4)
    scores, families = rng.beta(1, 9, 400).tolist(), [i // 2 for i in range(400)]
    found = certify_threshold(scores, families, [0.1, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert found.threshold >= 0.5
    assert (found.tuning_families, found.certificate.families) == (60, 140)
    assert found.certificate.certified
    assert certify_threshold([], [], [0.5]) is None


def test_a_threshold_that_fits_the_tuning_families_by_chance_is_not_certified_too_often() -> None:
    rng, wrong = np.random.default_rng(5), 0
    for seed in range(300):
        scores = rng.choice([0.2, 0.95], p=[0.95, 0.05], size=100).tolist()
        found = certify_threshold(scores, range(100), [0.5, 0.9], seed=seed)
        wrong += found.certificate.certified
    assert wrong / 300 <= 0.05 + 2 * sqrt(0.05 * 0.95 / 300)
