"""The first aware position: Kaplan-Meier as in statsmodels, and a median whose interval covers over families."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from nla_eval.stats.first_aware import first_aware
from nla_eval.stats.interval import Resampling

HOW = Resampling(resamples=200, seed=1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=40))
def test_the_curve_and_its_median_are_those_of_statsmodels(rows: list[tuple[int, bool]]) -> None:
    times, aware = [t for t, _ in rows], [a for _, a in rows]
    found = first_aware(times, aware, range(len(rows)), HOW)
    assert (found.events, found.censored) == (sum(aware), len(aware) - sum(aware))
    if any(aware):
        theirs = SurvfuncRight(times, np.array(aware, dtype=int))
        ours = dict(zip(found.times, found.not_yet, strict=True))
        assert ours == pytest.approx(
            {t: s for t, s in zip(theirs.surv_times, theirs.surv_prob, strict=True) if t in ours}
        )


def test_censored_transcripts_move_the_median_later() -> None:
    times = [1.0, 2.0, 3.0, 4.0] * 5
    whole = first_aware(times, [True] * 20, range(20), HOW)
    cut = first_aware([*times, *[4.0] * 10], [True] * 20 + [False] * 10, range(30), HOW)
    assert (whole.median, cut.median) == (2.0, 3.0)


def test_a_median_that_is_never_reached_is_not_made_up() -> None:
    found = first_aware([5.0] * 20, [i < 4 for i in range(20)], range(20), HOW)
    assert (found.median, found.high) == (None, None)
    assert first_aware([5.0] * 20, [False] * 20, range(20), HOW).withheld == "no transcript is ever aware"
    assert first_aware([5.0] * 4, [True] * 4, range(4), HOW).withheld == "4 families; an interval needs at least 8"
    assert first_aware([], [], [], HOW).withheld == "no transcript"


@pytest.mark.parametrize("cells", [1, 170, 4000])
def test_resampling_a_few_at_a_time_changes_nothing(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    times, aware, family = (
        rng.integers(1, 30, 85).tolist(),
        (rng.random(85) < 0.6).tolist(),
        (np.arange(85) // 3).tolist(),
    )
    whole = first_aware(times, aware, family, HOW)
    monkeypatch.setattr("nla_eval.stats.first_aware._CELLS", cells)
    assert first_aware(times, aware, family, HOW) == whole


def test_the_interval_covers_a_planted_median_over_families() -> None:
    rng, hits, runs = np.random.default_rng(3), 0, 200
    for seed in range(runs):
        family = np.repeat(np.arange(30), 4)
        shift = rng.normal(0, 4, 30)[family]
        latent, end = 30 + shift + rng.normal(0, 8, 120), rng.uniform(20, 80, 120)
        found = first_aware(
            np.minimum(latent, end).tolist(), (latent <= end).tolist(), family.tolist(), Resampling(200, seed)
        )
        hits += (found.low or 0) <= 30 <= (found.high or np.inf)
    assert 0.90 <= hits / runs <= 0.99
