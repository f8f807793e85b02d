"""The coverage map: intervals over few or many families, at rare and common rates. Nothing but families and flags."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..stats.auroc import auroc_by_cluster
from ..stats.bootstrap import cluster_mean
from ..stats.interval import Resampling
from ..stats.paired import paired_difference
from ..stats.wilson import wilson
from .findings import Covered, Finding, Study
from .pools import Numbers
from .world import Floats, beta

FAMILIES = (8, 12, 20, 50, 100)
RATES = (0.01, 0.05, 0.1, 0.3, 0.5, 0.9)
SINGLE = (20, 50, 100, 300)
RARE = (0.005, 0.02, 0.05, 0.1, 0.5)
PAIRED = (0.02, 0.05, 0.1, 0.3)
SHIFTS = ((0.5, 0.5), (0.7, 0.5), (0.8, 0.3))
"""Chances of a flag at a position, evaluation and deployment; AUROCs of the fraction of 6 positions."""
CORRELATION = 0.2
MAPS = ("by family", "single", "paired", "auroc")


def studies() -> list[Study]:
    """A study for each row of a map: so many families, all rates."""
    return [
        *(_by_family(g) for g in FAMILIES),
        *(_single(n) for n in SINGLE),
        *(_paired(g) for g in FAMILIES[:-1]),
        *(_auroc(g) for g in FAMILIES[:-1]),
    ]


def _by_family(g: int) -> Study:
    families = np.repeat(np.arange(g), 4)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        return {
            f"{rate:g}": Covered(cluster_mean(_flags(rng, families, rate).tolist(), families.tolist(), how), rate)
            for rate in RATES
        }

    return Study(f"by family {g}", "families of 4, correlation .2", trial)


def _single(n: int) -> Study:
    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        return {f"{rate:g}": Covered(wilson(int(rng.binomial(n, rate)), n, how.level), rate) for rate in RARE}

    return Study(f"single {n}", "single transcripts", trial)


def _paired(g: int) -> Study:
    families = np.repeat(np.arange(g), 2)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        found: dict[str, Finding] = {}
        for rate in PAIRED:
            a, b = _flags(rng, families, rate).tolist(), _flags(rng, families, rate / 2).tolist()
            found[f"{rate:g}"] = Covered(paired_difference(a, b, families.tolist(), how), rate / 2)
        return found

    return Study(f"paired {g}", "families of 2, p against p / 2", trial)


def _auroc(g: int) -> Study:
    from scipy.stats import betabinom

    families, counts, strength = np.repeat(np.arange(g), 2), np.arange(7), (1 - CORRELATION) / CORRELATION
    truths = []
    for pair in SHIFTS:
        a, b = (betabinom.pmf(counts, 6, rate * strength, (1 - rate) * strength) for rate in pair)
        truths.append(float(a @ (np.cumsum(b) - b / 2)))

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        found: dict[str, Finding] = {}
        for pair, expected in zip(SHIFTS, truths, strict=True):
            a, b = (rng.binomial(6, beta(rate, CORRELATION, g, rng)[families]).tolist() for rate in pair)
            found[f"{expected:.2f}"] = Covered(
                auroc_by_cluster(a, families.tolist(), b, families.tolist(), how), expected
            )
        return found

    return Study(f"auroc {g}", "families of 2 in both arms, 6 positions", trial)


def _flags(rng: np.random.Generator, families: Numbers, rate: float) -> Floats:
    own = beta(rate, CORRELATION, int(families[-1]) + 1, rng)[families]
    found: Floats = (rng.random(len(families)) < own).astype(np.float64)
    return found
