"""Planted arms hold what was planted, and the exact expectations are those of the arms that are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nla_eval.simulate.pools import Pools
from nla_eval.simulate.truth import any_of_k, auroc_of, fraction, stray_for, truth
from nla_eval.simulate.world import Arm, Verbalizer, draw, reread

MANY = Arm(families=4000, per_family=3, prevalence=0.4)


@pytest.mark.parametrize(
    "arm",
    [
        MANY,
        replace(MANY, prevalence=0.1, family_correlation=0.0, k=50),
        replace(MANY, draws=3, k=5),
        replace(MANY, av=Verbalizer(stray=0.02, stray_correlation=0.3, near=0.5)),
        replace(MANY, k=4, long_k=12, short_share=0.5),
    ],
)
def test_expectations_are_those_of_many_draws(arm: Arm, pools: Pools) -> None:
    drawn = draw(arm, pools, np.random.default_rng(1))
    of_family = drawn.any.reshape(arm.families, -1).mean(axis=1), drawn.fraction.reshape(arm.families, -1).mean(axis=1)
    for values, expected in zip(of_family, (any_of_k(arm, pools), fraction(arm, pools)), strict=True):
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / arm.families**0.5)


def test_verbalized_and_unverbalized_rates_too(pools: Pools) -> None:
    drawn, expected = draw(MANY, pools, np.random.default_rng(2)), truth(MANY, pools)
    assert drawn.v.mean() == pytest.approx(expected.verbalized, abs=0.02)
    assert (drawn.any & ~drawn.v).mean() == pytest.approx(expected.unverbalized, abs=0.02)
    assert drawn.voiced.mean() == pytest.approx(expected.voiced, abs=0.02)
    assert drawn.seen.mean() == pytest.approx(expected.explanation, abs=0.02)


def test_the_expected_auroc_is_that_of_two_draws(pools: Pools) -> None:
    from nla_eval.stats.auroc import auroc

    arms = (MANY, replace(MANY, prevalence=0.1))
    a, b = (draw(arm, pools, np.random.default_rng(3)).fraction.tolist() for arm in arms)
    expected = auroc_of(*(truth(arm, pools).counts for arm in arms))
    assert auroc(a, b) == pytest.approx(expected, abs=0.02)


def test_families_are_alike_as_planted(pools: Pools) -> None:
    by_family = draw(MANY, pools, np.random.default_rng(4)).aware.reshape(-1, 3)
    within = np.corrcoef(by_family[:, 0], by_family[:, 1])[0, 1]
    assert within == pytest.approx(MANY.family_correlation, abs=0.06)


def test_truncation_takes_what_was_planted_and_never_becomes_a_flag(pools: Pools) -> None:
    arm = replace(MANY, av=Verbalizer(cut_aware=0.4, cut_other=0.1))
    drawn = draw(arm, pools, np.random.default_rng(5))
    assert (~drawn.judged)[drawn.voiced].mean() == pytest.approx(0.4, abs=0.02)
    assert (~drawn.judged)[~drawn.voiced].mean() == pytest.approx(0.1, abs=0.02)
    assert not (drawn.seen & ~drawn.judged).any()


def test_a_donor_lane_carries_nothing_and_an_echo_carries_the_same(pools: Pools) -> None:
    rng = np.random.default_rng(6)
    measured = draw(MANY, pools, rng)
    donor, echo = (reread(measured, MANY, pools, rng, carries=carries) for carries in (False, True))
    assert not donor.voiced.any()
    assert (echo.carries == measured.carries).all()
    assert echo.any.mean() == pytest.approx(measured.any.mean(), abs=0.02)
    assert (donor.family == measured.family).all()


def test_positions_that_a_shorter_transcript_lacks_are_not_read(pools: Pools) -> None:
    drawn = draw(replace(MANY, families=10, k=4, long_k=12), pools, np.random.default_rng(7))
    assert sorted({len(positions) for positions in drawn.positions}) == [4, 12]
    assert not (drawn.flag & ~drawn.read[:, :, None]).any()


def test_the_same_seed_draws_the_same_arm(pools: Pools) -> None:
    one, other = (draw(MANY, pools, np.random.default_rng(8)) for _ in range(2))
    assert (one.flag == other.flag).all()
    assert (one.turn == other.turn).all()


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_stray_texts_are_set_so_that_a_share_of_transcripts_is_flagged(rate: float, pools: Pools) -> None:
    arm = stray_for(Arm(k=4, av=Verbalizer(stray_correlation=0.4, near=0.0)), pools, rate)
    assert any_of_k(arm, pools) == pytest.approx(rate, abs=1e-9)
    assert arm.prevalence == 0


def test_a_rate_below_the_classifiers_own_false_flags_is_refused(pools: Pools) -> None:
    with pytest.raises(ValueError, match="lower k or the near misses"):
        stray_for(Arm(k=50, av=Verbalizer(near=1.0)), pools, 0.05)
