"""Null worlds: nothing is there to be found. A test should reject 5 % of them, an interval exclude the null in 5 %.

Some hold a naive way beside the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..stats.abbott import abbott_paired
from ..stats.auroc import auroc_by_cluster
from ..stats.benjamini_hochberg import benjamini_hochberg
from ..stats.bootstrap import arm_difference
from ..stats.clustered_pairs import clustered_pairs
from ..stats.common_arms import compare_at_common_k
from ..stats.contrast import item_means, within_items
from ..stats.holm import holm
from ..stats.interval import Resampling
from ..stats.paired import paired_difference
from ..stats.pairs import mcnemar_exact, pair_table
from ..stats.permutation import permutation_test
from .designs import as_read, rates
from .findings import Claimed, Finding, PValue, Study, excludes
from .pools import Pools
from .world import Arm, Drawn, Verbalizer, beta, draw, reread

_AV = Verbalizer(stray=0.01, stray_correlation=0.1)
ARMS: dict[str, tuple[str, Arm, Arm]] = {
    "even arms": (
        "30 families of 3 against 30 of 3, prevalence .3",
        Arm(families=30, per_family=3, prevalence=0.3, av=_AV),
        Arm(families=30, per_family=3, prevalence=0.3, av=_AV),
    ),
    "unlike arms": (
        "12 families of 8, much alike, against 60 single transcripts, prevalence .3",
        Arm(families=12, per_family=8, prevalence=0.3, family_correlation=0.4, av=_AV),
        Arm(families=60, per_family=1, prevalence=0.3, av=_AV),
    ),
    "unlike arms, reversed": (
        "60 families of 6 against 15 single transcripts, prevalence .3",
        Arm(families=60, per_family=6, prevalence=0.3, av=_AV),
        Arm(families=15, per_family=1, prevalence=0.3, av=_AV),
    ),
    "few families": (
        "9 families of 3 against 9 of 3, prevalence .4",
        Arm(families=9, per_family=3, prevalence=0.4, av=_AV),
        Arm(families=9, per_family=3, prevalence=0.4, av=_AV),
    ),
    "uneven families": (
        "25 families of 1 to 7 against 50 single transcripts, prevalence .5",
        Arm(families=25, per_family=4, uneven=True, av=_AV),
        Arm(families=50, per_family=1, av=_AV),
    ),
}
SUITES = 6


def studies(pools: Pools) -> list[Study]:
    """All of them."""
    return [
        *(_arms(key, says, ours, theirs, pools) for key, (says, ours, theirs) in ARMS.items()),
        unequal_reading("unequal k", "no difference; 12 positions against 4", pools, Arm(k=12), Arm(k=4)),
        unequal_reading("unequal draws", "no difference; 4 draws against 1", pools, Arm(k=4, draws=4), Arm(k=4)),
        paired(),
        items(pools),
        many_suites(pools),
        prior(pools),
        echo(pools),
    ]


def _arms(key: str, says: str, ours: Arm, theirs: Arm, pools: Pools) -> Study:
    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        left, right = draw(ours, pools, rng), draw(theirs, pools, rng)
        shares = (left.fraction.tolist(), left.families, right.fraction.tolist(), right.families)
        return {
            "permutation test of any-of-k": PValue(_permuted(left, right, how)),
            "AUROC interval excludes .5": excludes(auroc_by_cluster(*shares, how), 0.5),
            "difference of fractions excludes 0": excludes(arm_difference(*shares, how), 0.0),
        }

    return Study(key, says, trial)


def unequal_reading(key: str, says: str, pools: Pools, ours: Arm, theirs: Arm) -> Study:
    """Two arms alike that were read at different k, or with different draws."""
    alike = Arm(families=40, per_family=1, prevalence=0.4, av=Verbalizer(voice=0.4, stray=0.03))
    one, other = (replace(alike, k=arm.k, draws=arm.draws) for arm in (ours, theirs))

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        left, right = draw(one, pools, rng), draw(other, pools, rng)
        found = compare_at_common_k(as_read(left), as_read(right), how, wanted=4)
        shares = (left.fraction.tolist(), left.families, right.fraction.tolist(), right.families)
        return {
            "permutation test at common k and draws": PValue(found.test.p_value if found.test else None),
            "AUROC at common k excludes .5": excludes(found.auroc, 0.5),
            "difference at common k excludes 0": excludes(found.difference, 0.0),
            "permutation test of any-of-k as read": PValue(_permuted(left, right, how)),
            "AUROC of fractions as read excludes .5": excludes(auroc_by_cluster(*shares, how), 0.5),
        }

    return Study(
        key,
        says,
        trial,
        {
            "permutation test of any-of-k as read": "permutation test at common k and draws",
            "AUROC of fractions as read excludes .5": "AUROC at common k excludes .5",
        },
    )


def paired() -> Study:
    """N and V flag equally many transcripts, but families lean to one or the other."""

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        family = np.repeat(np.arange(30), rng.integers(2, 9, 30))
        lean = beta(0.5, 0.5, 30, rng)[family]
        discordant, first, both = (rng.random(len(family)) < share for share in (0.5, lean, 0.2))
        n, v = np.where(discordant, first, both).tolist(), np.where(discordant, ~first, both).tolist()
        test = clustered_pairs(n, v, family.tolist(), how).permutation
        return {
            "N against V, sign flip over families": PValue(test.p_value if test else None),
            "N against V, McNemar over transcripts": PValue(mcnemar_exact(pair_table(n, v))),
        }

    return Study(
        "pairs",
        "N and V alike, 30 families of 2 to 8 that lean to either",
        trial,
        {"N against V, McNemar over transcripts": "N against V, sign flip over families"},
    )


def items(pools: Pools) -> Study:
    """Variants that change nothing, in items that differ."""
    arm, names = Arm(families=40, per_family=1, prevalence=0.5, family_correlation=0.3), ("a1", "a2", "b1", "b2")

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        lean = beta(arm.prevalence, arm.family_correlation, arm.families, rng)
        drawn = [draw(arm, pools, rng, lean) for _ in names]
        found: dict[str, Finding] = {}
        for outcome, values in (("fraction", [d.fraction for d in drawn]), ("any-of-k", [rates(d) for d in drawn])):
            which = np.repeat(names, arm.families).tolist()
            cells = item_means(np.concatenate(values).tolist(), list(range(arm.families)) * 4, which, names)
            for name, weights in (("difference", [1, -1, 0, 0]), ("interaction", [1, -1, -1, 1])):
                contrast = within_items(cells, weights, how)
                p_value = contrast.test.p_value if contrast.test else None
                found[f"{name} within items, {outcome}, sign flip"] = PValue(p_value)
                found[f"{name} within items, {outcome}, excludes 0"] = excludes(contrast.estimate, 0.0)
        return found

    return Study("items", "40 items in 2 x 2 variants that change nothing", trial)


def many_suites(pools: Pools) -> Study:
    """Six suites against one deployment arm: how often is any of them found?"""
    suite = Arm(families=20, per_family=2, prevalence=0.3, av=_AV)
    deployment = Arm(families=80, per_family=1, prevalence=0.3, av=_AV)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        theirs = draw(deployment, pools, rng)
        p = [_permuted(draw(suite, pools, rng), theirs, how) or 1.0 for _ in range(SUITES)]
        return {
            "any of six suites, Holm": PValue(min(holm(p))),
            "any of six suites, Benjamini-Hochberg": PValue(min(benjamini_hochberg(p))),
            "any of six suites, no correction": PValue(min(p)),
        }

    return Study(
        "six suites",
        "6 suites of 20 families against 80 single transcripts, all alike",
        trial,
        {"any of six suites, no correction": "any of six suites, Holm"},
    )


def prior(pools: Pools) -> Study:
    """Nobody is aware, but the verbalizer says "evaluation" of a tenth of all vectors."""
    av = Verbalizer(stray=0.1, stray_correlation=0.1)
    ours, theirs = (
        Arm(families=40, per_family=2, prevalence=0.0, k=8, av=av),
        Arm(families=60, per_family=1, prevalence=0.0, k=8, av=av),
    )

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        left, right = draw(ours, pools, rng), draw(theirs, pools, rng)
        donor = reread(left, ours, pools, rng, carries=False)
        shares = (left.fraction.tolist(), left.families, right.fraction.tolist(), right.families)
        n, c = left.any.tolist(), donor.any.tolist()
        less = paired_difference(left.fraction.tolist(), donor.fraction.tolist(), left.families, how)
        silent = ~left.v
        both = ((left.any & silent).astype(float).tolist(), (donor.any & silent).astype(float).tolist())
        return {
            "any-of-k less donor lane (Abbott) excludes 0": excludes(abbott_paired(n, c, left.families, how), 0.0),
            "fraction less donor lane excludes 0": excludes(less, 0.0),
            "AUROC interval excludes .5": excludes(auroc_by_cluster(*shares, how), 0.5),
            "unverbalized less donor and not V excludes 0": excludes(paired_difference(*both, left.families, how), 0.0),
            "unverbalized above 10 %, no control": Claimed(float(np.mean(both[0])) > 0.1),
        }

    return Study(
        "prior",
        'nobody is aware; the verbalizer says "evaluation" of 10 % of vectors',
        trial,
        {"unverbalized above 10 %, no control": "unverbalized less donor and not V excludes 0"},
    )


def echo(pools: Pools) -> Study:
    """The verbalizer repeats what a reader of the text sees, too: no privileged gain."""
    arm = Arm(families=40, per_family=3, prevalence=0.4, k=8, av=_AV)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        left = draw(arm, pools, rng)
        text = reread(left, arm, pools, rng, carries=True)
        test = clustered_pairs(left.any.tolist(), text.any.tolist(), left.families, how).permutation
        gain = paired_difference(left.fraction.tolist(), text.fraction.tolist(), left.families, how)
        return {
            "measured against text only, sign flip": PValue(test.p_value if test else None),
            "gain over text only excludes 0": excludes(gain, 0.0),
        }

    return Study("echo", "the verbalizer says what the text says; prevalence .4, 40 families of 3", trial)


def _permuted(left: Drawn, right: Drawn, how: Resampling) -> float | None:
    test = permutation_test(rates(left).tolist(), left.families, rates(right).tolist(), right.families, how)
    return None if test is None else test.p_value
