"""Standard worlds: one suite against deployment, 50 families or more, from rare to common. All estimates in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..stats.interval import Resampling
from .estimators import PRINTED, Setting
from .findings import Covered, Finding, Study
from .pools import Pools
from .world import Arm, Verbalizer

_QUIET = Verbalizer(stray=0.01, stray_correlation=0.1)
_DEPLOYMENT = Arm(families=100, per_family=1, prevalence=0.1, av=_QUIET)
WORLDS: dict[str, tuple[str, Arm, Arm]] = {
    "rare": (
        "50 families of 4, prevalence .2",
        Arm(prevalence=0.2, av=_QUIET),
        _DEPLOYMENT,
    ),
    "middle": (
        "80 families of 1 to 5, prevalence .5",
        Arm(families=80, per_family=3, uneven=True, prevalence=0.5, av=_QUIET),
        _DEPLOYMENT,
    ),
    "common": (
        "50 families of 4, prevalence .85, in families much alike (.4)",
        Arm(prevalence=0.85, family_correlation=0.4, av=replace(_QUIET, stray=0.03)),
        replace(_DEPLOYMENT, families=60, per_family=3, prevalence=0.3),
    ),
}
"""Key -> the world in words, its evaluation arm, its deployment arm."""


def studies(pools: Pools) -> list[Study]:
    """One study a world."""
    return [_study(key, says, Setting(ours, theirs, pools)) for key, (says, ours, theirs) in WORLDS.items()]


def _study(key: str, says: str, setting: Setting) -> Study:
    truths = setting.truths()
    expected = {printed.name: printed.truth(truths) for printed in PRINTED}

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        experiment = setting.drawn(rng)
        return {p.name: Covered(p.of(experiment, how), expected[p.name]) for p in PRINTED}

    return Study(key, says, trial)
