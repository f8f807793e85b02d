"""Privileged gain on planted worlds: the difference of two readers of the same transcripts, by AUROC and at a matched
false-positive rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from nla_eval.stats.auroc import _Ranked
from nla_eval.stats.gain import Scored, discordant, flagged_at, gain
from nla_eval.stats.interval import Resampling

HOW = Resampling(400)


def planted(seed: int, families: int, own: float, other: float, each: int = 2) -> tuple[Scored, Scored]:
    """Normal scores of both readers, half of their variance shared, correlated within families."""
    rng = np.random.default_rng(seed)

    def part(size: tuple[int, int]) -> np.ndarray:
        return np.sqrt(0.3) * rng.normal(size=(size[0], 1)) + np.sqrt(0.7) * rng.normal(size=size)

    def arm(shift: float) -> Scored:
        size = (families, each)
        text = part(size)
        scores = [shift * mu + np.sqrt(0.5) * (text + part(size)) for mu in (own, other)]
        return Scored(*(s.ravel().tolist() for s in scores), np.repeat(np.arange(families), each).tolist())

    return arm(1.0), arm(0.0)


def truth(own: float, other: float, rate: float) -> tuple[float, float]:
    """(AUROC difference, difference of flagged shares at `rate`) of unit normals shifted by `own` and `other`."""
    areas = [norm.cdf(mu / np.sqrt(2)) for mu in (own, other)]
    flagged = [norm.sf(norm.isf(rate) - mu) for mu in (own, other)]
    return float(areas[0] - areas[1]), float(flagged[0] - flagged[1])


@pytest.mark.parametrize(("own", "other"), [(1.0, 1.0), (1.5, 0.5)])
def test_the_intervals_cover_the_planted_gain(own: float, other: float) -> None:
    auroc, at_rate = truth(own, other, 0.2)
    found = [gain(*planted(seed, 10, own, other), HOW, 0.2) for seed in range(60)]
    for estimates, value in (([g.auroc for g in found], auroc), ([g.at_rate for g in found], at_rate)):
        covered = [e.low is not None and e.high is not None and e.low <= value <= e.high for e in estimates]
        assert np.mean(covered) >= 0.88  # 60 worlds: three Monte Carlo errors below 0.95; `full` has more
        assert np.mean([e.value for e in estimates]) == pytest.approx(value, abs=0.05)
    signs = [g.sign for g in found]
    if own == other:
        assert np.mean(signs) == pytest.approx(0.0, abs=0.1)
    else:
        assert signs.count(-1) == 0 < signs.count(1)


@pytest.mark.full
@pytest.mark.parametrize(("families", "own", "other"), [(12, 1.0, 1.0), (24, 1.0, 1.0), (24, 1.5, 0.8), (50, 1.5, 0.5)])
def test_coverage_is_nominal_in_more_worlds(families: int, own: float, other: float) -> None:
    auroc, at_rate = truth(own, other, 0.2)
    found = [gain(*planted(seed, families, own, other), Resampling(300, seed=seed), 0.2) for seed in range(400)]
    for estimates, value in (([g.auroc for g in found], auroc), ([g.at_rate for g in found], at_rate)):
        covered = np.mean([e.low is not None and e.high is not None and e.low <= value <= e.high for e in estimates])
        assert 0.91 <= covered <= 0.985


def test_the_same_reader_twice_has_zero_gain() -> None:
    positive, negative = planted(0, 10, 1.0, 1.0)
    same = [Scored(arm.own, arm.own, arm.clusters) for arm in (positive, negative)]
    found = gain(*same, HOW)
    assert (found.auroc.value, found.at_rate.value, found.sign) == (0.0, 0.0, 0)
    assert "no variation" in str(found.auroc.withheld)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("ties", [False, True])
def test_the_flagged_share_at_a_rate_is_on_the_roc_curve(rate: float, ties: bool) -> None:
    rng = np.random.default_rng(3)
    positive, negative = rng.normal(1, 1, 60), rng.normal(0, 1, 40)
    if ties:
        positive, negative = (np.round(x) for x in (positive, negative))
    ranked = _Ranked.of(positive, range(60), negative, range(40))
    found = flagged_at(ranked, np.ones((1, 60)), np.ones((1, 40)), rate)[0]
    false, true, _ = roc_curve([1] * 60 + [0] * 40, np.concatenate([positive, negative]), drop_intermediate=False)
    steps = [(f, t) for f, t in zip(false, true, strict=True) if f <= rate + 1e-12]
    assert found >= steps[0][1] - 1e-12
    above = [t for f, t in zip(false, true, strict=True) if f >= rate - 1e-12]
    assert min(above) >= found - 1e-12 or found == pytest.approx(min(above))
    before = max(t for f, t in zip(false, true, strict=True) if f < rate - 1e-12)
    assert found >= before - 1e-12


def test_a_rate_between_two_thresholds_is_interpolated() -> None:
    ranked = _Ranked.of([1, 1, 0, 0], range(4), [1, 0, 0, 0], range(4))
    shares = [float(flagged_at(ranked, np.ones((1, 4)), np.ones((1, 4)), rate)[0]) for rate in (0.125, 0.25, 0.625)]
    assert shares == pytest.approx([0.25, 0.5, 0.75])


@pytest.mark.parametrize(("families", "reason"), [(0, "one of the arms"), (3, "3 families")])
def test_too_little_is_withheld_and_counts_as_zero(families: int, reason: str) -> None:
    positive, negative = planted(1, max(families, 1), 2.0, 0.0)
    if not families:
        positive = Scored([], [], [])
    found = gain(positive, negative, HOW)
    assert reason in str(found.auroc.withheld)
    assert found.sign == 0


def test_both_discordant_rates_are_given() -> None:
    own = [True] * 6 + [False] * 10
    other = [True] * 2 + [False] * 4 + [True] + [False] * 9
    found = discordant(own, other, list(range(16)), HOW)
    assert (found.only_own.value, found.only_other.value) == (4 / 16, 1 / 16)
    assert found.transcripts == 16


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        gain(*planted(0, 8, 1, 1), HOW, rate)
