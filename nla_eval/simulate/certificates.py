"""Certificates in worlds where the claim is wrong: the flagged share of transcripts is exactly the limit.

A certificate "below 5 %" may appear in at most 5 % of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..stats.certificate import beta_binomial_bound, certify, certify_threshold
from ..stats.interval import Resampling
from ..stats.zero import upper_bound
from .findings import Claimed, Finding, Study
from .pools import Pools
from .truth import stray_for, truth
from .world import Arm, Verbalizer, draw

LIMIT = 0.05
K = 4
_HARDLY, _MUCH = Verbalizer(stray_correlation=0.05, near=0.0), Verbalizer(stray_correlation=0.5, near=0.0)
WORLDS: dict[str, tuple[str, Arm]] = {
    "60 single": ("60 single transcripts", Arm(families=60, per_family=1, k=K, av=_HARDLY)),
    "200 single": ("200 single transcripts", Arm(families=200, per_family=1, k=K, av=_HARDLY)),
    "10 families": ("10 families of 8, flagged much alike", Arm(families=10, per_family=8, k=K, av=_MUCH)),
    "30 families": ("30 families of 4, flagged much alike", Arm(families=30, k=K, av=_MUCH)),
    "60 families": ("60 families of 4, flagged hardly alike", Arm(families=60, k=K, av=_HARDLY)),
    "100 uneven": ("100 families of 1 to 7, flagged much alike", Arm(families=100, uneven=True, k=K, av=_MUCH)),
}
THRESHOLDS = (0.2, 0.3, 0.6, 0.8)
"""Shares of flagged positions; the lowest flags a transcript with one of four."""


def studies(pools: Pools) -> list[Study]:
    """One study a world."""
    return [_study(key, says, stray_for(arm, pools, LIMIT), pools) for key, (says, arm) in WORLDS.items()]


def _study(key: str, says: str, arm: Arm, pools: Pools) -> Study:
    counts = truth(arm, pools).counts
    above = {t: float(counts[np.arange(K + 1) >= t * K].sum()) for t in THRESHOLDS}

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        flags, scores = drawn.any.tolist(), drawn.fraction.tolist()
        held_out = certify_threshold(
            scores, drawn.families, THRESHOLDS, LIMIT, how.level, seed=int(rng.integers(2**31))
        )
        lost = np.any(rng.random(drawn.flag.shape) < 0.05, axis=(1, 2))
        undecided = [None if gone and not flag else flag for flag, gone in zip(flags, lost.tolist(), strict=True)]
        wrong = held_out is not None and held_out.certificate.certified and above[held_out.threshold] >= LIMIT
        return {
            "certified by family": Claimed(certify(flags, drawn.families, LIMIT, how.level).certified),
            "beta-binomial bound": Claimed(beta_binomial_bound(flags, drawn.families, how.level) < LIMIT),
            "threshold on held-out families": Claimed(wrong),
            "certified by family, a fifth undecided": Claimed(
                certify(undecided, drawn.families, LIMIT, how.level).certified
            ),
            "certified by transcripts": Claimed(upper_bound(sum(flags), len(flags), how.level) < LIMIT),
        }

    return Study(
        key,
        says,
        trial,
        {
            "certified by transcripts": "certified by family",
        },
    )
