"""Naive ways, each beside the right one in a world where it fails: what a quick script would print.

More of them stand in the worlds of `designs`, `nulls` and `certificates`, whose data they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..stats.abbott import abbott, abbott_paired
from ..stats.bootstrap import cluster_mean, cluster_ratio, totals
from ..stats.corrected import corrected_fraction
from ..stats.interval import Estimate, Resampling
from ..stats.wilson import wilson
from .designs import common_any_of_k
from .estimators import Setting
from .findings import Covered, Finding, Study
from .pools import Pools
from .truth import any_of_k, truth
from .world import Arm, Verbalizer, draw, reread


def studies(pools: Pools) -> list[Study]:
    """All of them."""
    return [
        pooled(pools),
        percentile(pools),
        lucky(pools),
        uncorrected(pools),
        subtraction(pools),
    ]


def pooled(pools: Pools) -> Study:
    """Explanations or transcripts taken as independent."""
    arm = Arm(families=50, per_family=4, prevalence=0.4, family_correlation=0.4)
    expected = truth(arm, pools)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        seen, n = drawn.seen.sum(axis=(1, 2)), arm.k * arm.draws
        by_family = cluster_ratio(seen.tolist(), [float(n)] * len(seen), drawn.families, how)
        flags = drawn.any
        return {
            "explanation rate, by family": Covered(by_family, expected.explanation),
            "Wilson over pooled explanations": Covered(
                wilson(int(seen.sum()), n * len(seen), how.level), expected.explanation
            ),
            "any-of-k, by family": Covered(
                cluster_mean(flags.astype(float).tolist(), drawn.families, how), expected.any_of_k
            ),
            "any-of-k, Wilson over transcripts": Covered(
                wilson(int(flags.sum()), len(flags), how.level), expected.any_of_k
            ),
        }

    return Study(
        "pooled",
        "50 families of 4, much alike (.4)",
        trial,
        {
            "Wilson over pooled explanations": "explanation rate, by family",
            "any-of-k, Wilson over transcripts": "any-of-k, by family",
        },
    )


def percentile(pools: Pools) -> Study:
    """A percentile bootstrap of eight families."""
    arm = Arm(families=8, per_family=4, prevalence=0.3)
    expected = any_of_k(arm, pools)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        flags = drawn.any.astype(float).tolist()
        return {
            "jackknife t of 8 families": Covered(cluster_mean(flags, drawn.families, how), expected),
            "percentile bootstrap of 8 families": Covered(_percentile(flags, drawn.families, rng), expected),
        }

    return Study(
        "percentile", "8 families of 4", trial, {"percentile bootstrap of 8 families": "jackknife t of 8 families"}
    )


def lucky(pools: Pools) -> Study:
    """A flag decides a transcript at once; without one, 90 % must have been judged."""
    arm = Arm(families=60, per_family=1, prevalence=0.35, k=24, av=Verbalizer(cut_aware=0.1, cut_other=0.1))
    k = 20
    full, common = any_of_k(arm, pools), any_of_k(replace(arm, k=k), pools)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        enough = drawn.judged_positions.sum(axis=1) >= 0.9 * arm.k
        decided = int((drawn.any | enough).sum())
        return {
            "any-of-20, one rule for all": Covered(common_any_of_k(drawn, k, 1, how), common),
            "any-of-24, a flag decides at once": Covered(wilson(int(drawn.any.sum()), decided, how.level), full),
        }

    return Study(
        "admission",
        "24 positions, 10 % truncated, 60 single transcripts",
        trial,
        {"any-of-24, a flag decides at once": "any-of-20, one rule for all"},
    )


def uncorrected(pools: Pools) -> Study:
    """The classifier's errors left in the fraction."""
    arm = Arm(families=60, per_family=4, prevalence=0.6)
    setting = Setting(arm, Arm(), pools)
    expected = truth(arm, pools).voiced

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        experiment = setting.drawn(rng)
        fractions, families = experiment.evaluation.fraction.tolist(), experiment.evaluation.families
        corrected = corrected_fraction(fractions, families, experiment.calibration, how.level)
        return {
            "share of aware texts, Rogan-Gladen": Covered(corrected, expected),
            "share of aware texts, as flagged": Covered(cluster_mean(fractions, families, how), expected),
        }

    return Study(
        "classifier",
        "60 families of 4, prevalence .6",
        trial,
        {"share of aware texts, as flagged": "share of aware texts, Rogan-Gladen"},
    )


def subtraction(pools: Pools) -> Study:
    """Any-of-k of the donor lane taken off as if transcripts could be flagged twice."""
    arm = Arm(families=60, per_family=3, prevalence=0.5, av=Verbalizer(stray=0.06))
    measured, donor = any_of_k(arm, pools), any_of_k(replace(arm, prevalence=0.0), pools)
    expected = abbott(measured, donor)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        lane = reread(drawn, arm, pools, rng, carries=False)
        n, c = drawn.any, lane.any
        bare = cluster_mean((n.astype(float) - c.astype(float)).tolist(), drawn.families, how)
        return {
            "any-of-k less donor lane, Abbott": Covered(
                abbott_paired(n.tolist(), c.tolist(), drawn.families, how), expected
            ),
            "any-of-k less donor lane, subtracted": Covered(bare, expected),
        }

    return Study(
        "subtraction",
        "60 families of 3, stray texts at 6 % of positions",
        trial,
        {"any-of-k less donor lane, subtracted": "any-of-k less donor lane, Abbott"},
    )


def _percentile(flags: list[float], families: list[int], rng: np.random.Generator) -> Estimate:
    sums = totals(families, flags, [1.0] * len(flags))
    drawn = sums[rng.integers(0, len(sums), (1000, len(sums)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return Estimate(float(np.mean(flags)), float(low), float(high), len(sums), "percentile")
