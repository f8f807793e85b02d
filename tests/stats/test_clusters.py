"""Cluster intervals, AUROC, Abbott's correction and the permutation test, against planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nla_eval.stats.abbott import abbott, abbott_paired
from nla_eval.stats.auroc import auroc, auroc_by_cluster, auroc_shared_clusters
from nla_eval.stats.bootstrap import NO_VARIATION, arm_difference, cluster_mean, cluster_ratio
from nla_eval.stats.interval import Resampling
from nla_eval.stats.paired import paired_difference
from nla_eval.stats.permutation import permutation_test
from nla_eval.stats.zero import upper_bound

HOW = Resampling(resamples=400, seed=7)
scores = st.lists(st.floats(0, 1).map(lambda x: round(x, 1)), min_size=1, max_size=25)


def families(n: int, size: int = 3) -> list[str]:
    return [f"family{i // size}" for i in range(n * size)]


def planted(rng: np.random.Generator, groups: int, rate: float) -> tuple[list[float], list[str]]:
    """Transcripts of unequal families whose own rates vary around `rate` (intra-family correlation 0.2)."""
    own = rng.beta(rate * 4, (1 - rate) * 4, groups)
    sizes = rng.integers(1, 6, groups)
    clusters = np.repeat(np.arange(groups), sizes)
    return (rng.random(len(clusters)) < own[clusters]).astype(float).tolist(), [str(c) for c in clusters]


def coverage(groups: int, rate: float, replications: int) -> float:
    rng, hits = np.random.default_rng(20_260_801), 0
    for replication in range(replications):
        values, clusters = planted(rng, groups, rate)
        estimate = cluster_mean(values, clusters, Resampling(resamples=400, seed=replication))
        hits += estimate.low <= rate <= estimate.high
    return hits / replications


@pytest.mark.parametrize(("groups", "rate"), [(12, 0.3), (50, 0.1), (50, 0.5)])
def test_cluster_intervals_cover_a_planted_rate(groups: int, rate: float) -> None:
    assert 0.92 <= coverage(groups, rate, 300) <= 0.98


@pytest.mark.full
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_coverage_is_93_to_97_percent_from_50_families(rate: float) -> None:
    assert 0.93 <= coverage(50, rate, 2000) <= 0.97


def test_counting_transcripts_as_independent_would_cover_less() -> None:
    rng = np.random.default_rng(3)
    values, clusters = planted(rng, 40, 0.3)
    whole = [v for v in values for _ in range(5)]
    by_family = cluster_mean(whole, [c for c in clusters for _ in range(5)], HOW)
    as_if_free = cluster_mean(whole, list(range(len(whole))), HOW)
    assert by_family.high - by_family.low > 1.8 * (as_if_free.high - as_if_free.low)


@pytest.mark.parametrize(("groups", "method"), [(7, "cluster"), (8, "t(7)"), (19, "t(18)"), (20, "BCa")])
def test_the_number_of_families_decides_the_interval(groups: int, method: str) -> None:
    values = [float(i % 3 == 0) for i in range(groups * 2)]
    estimate = cluster_mean(values, [f"f{i % groups}" for i in range(groups * 2)], HOW)
    assert method in estimate.method
    assert estimate.n == groups
    assert estimate.has_interval == (groups >= 8)
    assert (estimate.withheld is None) == estimate.has_interval


def test_zero_everywhere_bounds_the_rate_instead_of_claiming_certainty() -> None:
    estimate = cluster_mean([0.0] * 30, families(10), HOW)
    assert (estimate.low, estimate.high) == (0.0, pytest.approx(upper_bound(0, 10)))


def test_values_without_variation_get_no_interval_of_zero_width() -> None:
    estimate = cluster_mean([0.5] * 60, families(20), HOW)
    assert (estimate.value, estimate.low, estimate.withheld) == (0.5, None, NO_VARIATION)


def test_a_ratio_weighs_by_its_denominator() -> None:
    assert cluster_ratio([1, 0], [1, 9], ["a", "b"], HOW).value == pytest.approx(0.1)
    assert cluster_ratio([], [], [], HOW).value is None


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values, clusters = (np.random.default_rng(5).random(90) < 0.3).astype(float).tolist(), families(30)
    first, again = cluster_mean(values, clusters, HOW), cluster_mean(values, clusters, HOW)
    assert first == again
    assert first != cluster_mean(values, clusters, Resampling(resamples=400, seed=8))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30)), min_size=1, max_size=60))
def test_intervals_stay_in_range_and_hold_the_estimate(rows: list[tuple[float, int]]) -> None:
    estimate = cluster_mean([v for v, _ in rows], [c for _, c in rows], Resampling(resamples=60, seed=1))
    if estimate.has_interval:
        assert 0 <= estimate.low <= estimate.high <= 1


def test_arm_and_paired_differences_find_what_was_planted() -> None:
    rng = np.random.default_rng(11)
    a, ca = planted(rng, 60, 0.6)
    b, cb = planted(rng, 60, 0.2)
    between = arm_difference(a, ca, b, cb, HOW)
    assert between.low < 0.4 < between.high
    assert between.low > 0.1
    within = paired_difference(a, [0.0] * len(a), ca, HOW)
    assert within.value == pytest.approx(sum(a) / len(a))
    assert arm_difference(a, ca, [], [], HOW).withheld == "one of the arms has no transcript"


@given(scores, scores)
def test_auroc_agrees_with_scikit_learn(positive: list[float], negative: list[float]) -> None:
    expected = roc_auc_score([1] * len(positive) + [0] * len(negative), positive + negative)
    assert auroc(positive, negative) == pytest.approx(expected)


def test_auroc_by_cluster_weights_families_as_plain_auroc_does() -> None:
    rng = np.random.default_rng(2)
    positive, negative = rng.random(90).round(1).tolist(), (rng.random(60) * 0.8).round(1).tolist()
    estimate = auroc_by_cluster(positive, families(30), negative, families(20), HOW)
    assert estimate.value == pytest.approx(auroc(positive, negative))
    assert estimate.low < estimate.value < estimate.high
    assert estimate.n == 20


def test_auroc_of_two_silent_arms_is_one_half_without_an_interval() -> None:
    estimate = auroc_by_cluster([0.0] * 60, families(20), [0.0] * 60, families(20), HOW)
    assert (estimate.value, estimate.low, estimate.withheld) == (0.5, None, NO_VARIATION)


def test_abbott_recovers_a_planted_rate_behind_independent_false_positives() -> None:
    rng = np.random.default_rng(13)
    n, truth, false = 4000, 0.3, 0.25
    measured = (rng.random(n) < truth) | (rng.random(n) < false)
    control = rng.random(n) < false
    estimate = abbott_paired(measured.tolist(), control.tolist(), families(n // 4, 4), HOW)
    assert estimate.low < truth < estimate.high
    assert estimate.value == pytest.approx(abbott(measured.mean(), control.mean()))


def test_abbott_is_negative_when_the_control_flags_more_and_undefined_when_it_flags_all() -> None:
    assert abbott(0.1, 0.2) == pytest.approx(-0.125)
    with pytest.raises(ValueError, match="undefined"):
        abbott(1.0, 1.0)
    assert abbott_paired([True], [True], ["a"], HOW).withheld == "the control lane flags every transcript"


def test_a_perfect_split_of_four_against_four_families_reaches_the_smallest_exact_p() -> None:
    result = permutation_test([1.0] * 12, families(4), [0.0] * 12, families(4), HOW)
    assert (result.exact, result.splits, result.difference) == (True, 70, 1.0)
    assert result.p_value == pytest.approx(2 / 70)


def test_many_transcripts_of_few_families_do_not_buy_a_smaller_p() -> None:
    few = permutation_test([1.0] * 4, families(4, 1), [0.0] * 4, families(4, 1), HOW)
    many = permutation_test([1.0] * 400, families(4, 100), [0.0] * 400, families(4, 100), HOW)
    assert few.p_value == many.p_value


def test_many_families_fall_back_to_monte_carlo_with_p_above_zero() -> None:
    result = permutation_test([1.0] * 30, families(30, 1), [0.0] * 30, families(30, 1), HOW)
    assert (result.exact, result.splits) == (False, 400)
    assert result.p_value == pytest.approx(1 / 401)


def test_the_permutation_test_holds_its_level_when_arms_do_not_differ() -> None:
    rng, rejected = np.random.default_rng(17), 0
    for seed in range(300):
        a, ca = planted(rng, 12, 0.4)
        b, cb = planted(rng, 12, 0.4)
        rejected += permutation_test(a, ca, b, cb, Resampling(resamples=199, seed=seed)).p_value <= 0.05
    assert rejected / 300 <= 0.08


def test_the_permutation_test_holds_its_level_in_arms_that_are_alike_in_their_mean_alone() -> None:
    rng, rejected, how = np.random.default_rng(18), 0, Resampling(resamples=199)
    for _ in range(200):
        own = np.repeat(rng.beta(1.2, 2.8, 60), 6)
        large, single = (rng.random(360) < own).astype(float).tolist(), (rng.random(15) < 0.3).astype(float).tolist()
        rejected += permutation_test(large, families(60, 6), single, families(15, 1), how).p_value <= 0.05
    assert rejected / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_an_empty_arm_has_no_permutation_test() -> None:
    assert permutation_test([1.0], ["a"], [], [], HOW) is None


@given(st.lists(st.tuples(st.floats(0, 1).map(lambda x: round(x, 1)), st.booleans()), min_size=2, max_size=40))
def test_auroc_of_matched_families_is_the_plain_auroc(rows: list[tuple[float, bool]]) -> None:
    scores_, positive = [score for score, _ in rows], [side for _, side in rows]
    found = auroc_shared_clusters(scores_, positive, [i % 10 for i in range(len(rows))], HOW)
    if len(set(positive)) < 2:
        assert found.value is None
    else:
        assert found.value == pytest.approx(roc_auc_score(positive, scores_))


@pytest.mark.parametrize(("families", "shift"), [(12, 1.0), (40, 0.5)])
def test_matched_families_intervals_cover_a_planted_auroc(families: int, shift: float) -> None:
    from scipy.stats import norm

    truth = float(norm.cdf(shift / np.sqrt(2)))
    rng, hits = np.random.default_rng(20_260_802), 0
    side = np.tile([True, False], 4 * families)
    cluster = np.repeat(np.arange(families), 8)
    for replication in range(200):
        own = rng.standard_normal(families)[cluster] * np.sqrt(0.2)
        values = own + rng.standard_normal(8 * families) * np.sqrt(0.8) + shift * side
        found = auroc_shared_clusters(values.tolist(), side.tolist(), cluster.tolist(), Resampling(400, replication))
        hits += float(found.low or 0) <= truth <= float(found.high or 1)
    assert 0.90 <= hits / 200 <= 0.99


def test_auroc_of_many_single_families_takes_no_pairs() -> None:
    rng = np.random.default_rng(9)
    positive, negative = rng.random(20_000) + 0.1, rng.random(20_000)
    expected = roc_auc_score([1] * 20_000 + [0] * 20_000, [*positive, *negative])
    assert auroc(positive.tolist(), negative.tolist()) == pytest.approx(expected)
    few = Resampling(resamples=100, seed=1)
    found = auroc_by_cluster(positive[:2000].tolist(), range(2000), negative[:2000].tolist(), range(2000), few)
    assert found.low < found.value < found.high


def test_the_ranked_auroc_gives_the_interval_of_counting_every_pair() -> None:
    from nla_eval.stats.bootstrap import cluster_interval, ratio

    rng = np.random.default_rng(10)
    positive, negative = (rng.random(75) + 0.2).round(1), rng.random(60).round(1)
    rows, columns = np.repeat(np.eye(25), 3, axis=1), np.repeat(np.eye(20), 3, axis=1)
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    wins, sizes = rows @ pairs @ columns.T, np.full((25, 20), 9.0)

    def by_pairs(w: np.ndarray) -> np.ndarray:
        left, right = w[:, :25], w[:, 25:]
        return ratio(((left @ wins) * right).sum(axis=1), ((left @ sizes) * right).sum(axis=1))

    expected = cluster_interval(by_pairs, [25, 20], HOW, (0.0, 1.0))
    found = auroc_by_cluster(positive.tolist(), families(25), negative.tolist(), families(20), HOW)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.method == expected.method
