"""Strata weigh as many positions as they have, however densely they were read."""

from __future__ import annotations

import numpy as np
import pytest

from nla_eval.stats.interval import Resampling
from nla_eval.stats.stratified import Stratum, weighted_fraction, weighted_fraction_mean

HOW = Resampling(resamples=200, seed=1)


def test_a_densely_read_rare_stratum_does_not_lead() -> None:
    strata = [Stratum(size=10, judged=10, aware=10), Stratum(size=990, judged=10, aware=0)]
    assert weighted_fraction(strata) == pytest.approx(0.01)


def test_strata_read_in_proportion_give_the_plain_fraction() -> None:
    assert weighted_fraction([Stratum(100, 10, 3), Stratum(200, 20, 3)]) == pytest.approx(6 / 30)


def test_an_unread_stratum_is_stood_for_while_small_and_leaves_the_transcript_out_when_large() -> None:
    assert weighted_fraction([Stratum(95, 10, 2), Stratum(5, 0, 0)]) == pytest.approx(0.2)
    assert weighted_fraction([Stratum(80, 10, 2), Stratum(20, 0, 0)]) is None
    found = weighted_fraction_mean([[Stratum(9, 3, 1)], [Stratum(9, 0, 0)]], ["a", "b"], HOW)
    assert (found.transcripts, found.left_out) == (1, 1)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="aware <= judged <= size"):
        Stratum(5, 6, 0)


def test_intervals_cover_the_fraction_of_all_positions_where_the_plain_fraction_does_not() -> None:
    rng, hits, plain, runs, truth = np.random.default_rng(2), 0, [], 200, (50 * 0.6 + 950 * 0.1) / 1000
    for seed in range(runs):
        transcripts, families = [], []
        for family in range(24):
            shift = rng.uniform(-0.08, 0.08)
            for _ in range(3):
                rare, common = rng.binomial(6, 0.6 + shift), rng.binomial(6, 0.1 + shift)
                transcripts.append([Stratum(50, 6, int(rare)), Stratum(950, 6, int(common))])
                families.append(family)
        found = weighted_fraction_mean(transcripts, families, Resampling(200, seed)).estimate
        hits += found.low <= truth <= found.high
        plain.append(np.mean([(a.aware + b.aware) / 12 for a, b in transcripts]))
    assert 0.90 <= hits / runs <= 0.99
    assert np.mean(plain) > 2 * truth
