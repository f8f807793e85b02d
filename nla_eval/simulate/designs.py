"""Worlds with a design of their own: reused donors, unequal k, truncation, several draws, strata, variants, position.

Each is small enough for one function; each holds the estimate that a report prints for such data beside its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..stats.anyk import k_curve
from ..stats.auroc import auroc_shared_clusters
from ..stats.bootstrap import cluster_mean
from ..stats.bounds import rate_bounds
from ..stats.common_arms import Arm as ReadArm
from ..stats.common_arms import compare_at_common_k
from ..stats.common_k import expected_any_of_k
from ..stats.contrast import item_means, within_items
from ..stats.first_aware import first_aware
from ..stats.interval import Estimate, Resampling
from ..stats.jeffreys import jeffreys
from ..stats.power import POWER, Design, smallest_rate
from ..stats.stratified import Stratum, weighted_fraction_mean
from ..stats.two_way import two_way_mean
from ..stats.variance import variance_split
from ..stats.wilson import wilson
from .findings import Covered, Finding, Study, Valued
from .pools import Pools
from .truth import auroc_of, beta_nodes, truth
from .world import Arm, Drawn, Floats, Verbalizer, beta, draw


def studies(pools: Pools) -> list[Study]:
    """Every one of them."""
    return [
        single_transcripts(pools),
        reused_donors(pools),
        unequal_k(pools),
        truncation(pools),
        several_draws(pools),
        strata(),
        variants(pools),
        onset(pools),
        variance(pools),
        missing(pools),
        power(),
    ]


def single_transcripts(pools: Pools) -> Study:
    """Independent transcripts: the intervals that know no families."""
    arm = Arm(families=100, per_family=1, prevalence=0.4)
    expected = truth(arm, pools).any_of_k

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        flagged = int(draw(arm, pools, rng).any.sum())
        return {
            "any-of-k (Wilson)": Covered(wilson(flagged, 100, how.level), expected),
            "any-of-k (Jeffreys)": Covered(jeffreys(flagged, 100, how.level), expected),
        }

    return Study("single", "100 families of one transcript", trial)


SLOTS = 120


def reused_donors(pools: Pools, donors: int = 24) -> Study:
    """The donor lane: 120 slots in 60 families, filled from 24 donors that differ in how often they are flagged."""
    hit, false = pools.explanations.rate(pools.explanations.aware), pools.explanations.other_rate(0.1)
    k, mean, correlation = 8, 0.06, 0.3
    chances, weights = beta_nodes(mean, correlation)
    own, other = chances[:, None] / 2, chances[None, :] / 2
    flagged = (own + other) * hit + (1 - own - other) * false
    expected = float(weights @ (1 - (1 - flagged) ** k) @ weights)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        family, donor = np.arange(SLOTS) // 2, rng.integers(0, donors, SLOTS)
        stray = (beta(mean, correlation, SLOTS // 2, rng)[family] + beta(mean, correlation, donors, rng)[donor]) / 2
        flag = (rng.random((SLOTS, k)) < (stray * hit + (1 - stray) * false)[:, None]).any(axis=1)
        found = two_way_mean(flag.astype(float).tolist(), family.tolist(), donor.tolist(), how)
        return {
            "donor lane, by family and donor": Covered(found, expected),
            "Wilson over slots": Covered(wilson(int(flag.sum()), SLOTS, how.level), expected),
        }

    return Study(
        "donors",
        f"{SLOTS} slots of 60 families filled from {donors} donors",
        trial,
        {"Wilson over slots": "donor lane, by family and donor"},
    )


def unequal_k(pools: Pools) -> Study:
    """Evaluation read at 12 positions, deployment at 6; both differ in prevalence."""
    ours = Arm(families=50, per_family=1, prevalence=0.5, k=12)
    theirs = replace(ours, families=60, prevalence=0.2, k=6)
    a, b = truth(replace(ours, k=6), pools), truth(theirs, pools)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        left, right = draw(ours, pools, rng), draw(theirs, pools, rng)
        found = compare_at_common_k(as_read(left), as_read(right), how, wanted=6)
        return {
            "any-of-k at common k, difference": Covered(found.difference, a.any_of_k - b.any_of_k),
            "AUROC at common k": Covered(found.auroc, auroc_of(a.counts, b.counts)),
        }

    return Study("common k", "12 positions against 6; 50 single transcripts against 60", trial)


def truncation(pools: Pools) -> Study:
    """A tenth of the explanations is truncated, whatever they say: any-of-9 of 12 planned positions."""
    arm = Arm(per_family=2, prevalence=0.3, av=Verbalizer(stray=0.01, cut_aware=0.1, cut_other=0.1))
    k = 9
    expected = truth(replace(arm, k=k), pools).any_of_k

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        return {"any-of-9 of the admitted": Covered(common_any_of_k(draw(arm, pools, rng), k, 1, how), expected)}

    return Study("truncation", "10 % truncated, 50 families of 2, 12 positions", trial)


def several_draws(pools: Pools) -> Study:
    """Four draws a position, brought to two; draws of one position are alike."""
    arm = Arm(families=50, per_family=2, prevalence=0.4, k=8, draws=4, av=Verbalizer(voice=0.5, stray=0.01))
    expected = truth(replace(arm, draws=2, k=6), pools).any_of_k

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        return {"any-of-6 at 2 draws": Covered(common_any_of_k(draw(arm, pools, rng), 6, 2, how), expected)}

    return Study("draws", "8 positions with 4 draws, 50 families of 2", trial)


def strata() -> Study:
    """A rare stratum read as densely as a common one; awareness sits in the rare one."""
    sizes, chances = (20, 180), (0.6, 0.15)
    expected = float(np.dot(sizes, chances)) / sum(sizes)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        families = np.repeat(np.arange(50), 3)
        own = np.array([beta(chance, 0.1, 50, rng)[families] for chance in chances])
        flags = rng.binomial(6, own)
        rows = [
            [Stratum(size, 6, int(hits)) for size, hits in zip(sizes, pair, strict=True)] for pair in flags.T.tolist()
        ]
        found = weighted_fraction_mean(rows, families.tolist(), how).estimate
        plain = cluster_mean((flags.sum(axis=0) / 12).tolist(), families.tolist(), how)
        return {
            "fraction weighted by stratum": Covered(found, expected),
            "plain share of the sampled positions": Covered(plain, expected),
        }

    return Study(
        "strata",
        "6 positions of 20 tokens and 6 of 180, 50 families of 3",
        trial,
        {"plain share of the sampled positions": "fraction weighted by stratum"},
    )


def variants(pools: Pools) -> Study:
    """Four variants of 50 items: a paired difference, an interaction, and AUROC between two variants of all items."""
    base = Arm(families=50, per_family=1, prevalence=0.5, family_correlation=0.3)
    shares = (1.0, 0.5, 0.4, 0.2)
    truths = [truth(replace(base, prevalence=0.5 * share), pools) for share in shares]
    names = ("a1", "a2", "b1", "b2")
    a1, a2, b1, b2 = (t.any_of_k for t in truths)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        lean = beta(base.prevalence, base.family_correlation, base.families, rng)
        drawn = [draw(base, pools, rng, lean * share) for share in shares]
        values = [float(x) for one in drawn for x in one.any]
        items, which = list(range(50)) * 4, np.repeat(names, 50).tolist()
        cells = item_means(values, items, which, names)
        scores = [*drawn[0].fraction.tolist(), *drawn[3].fraction.tolist()]
        both = auroc_shared_clusters(scores, [True] * 50 + [False] * 50, list(range(50)) * 2, how)
        return {
            "difference of variants within items": Covered(within_items(cells, [1, -1, 0, 0], how).estimate, a1 - a2),
            "interaction within items": Covered(within_items(cells, [1, -1, -1, 1], how).estimate, a1 - a2 - b1 + b2),
            "AUROC of matched variants": Covered(both, auroc_of(truths[0].counts, truths[3].counts)),
        }

    return Study("variants", "50 items in 2 x 2 variants", trial)


def onset(pools: Pools) -> Study:
    """The first aware position among 6 or 16: shorter transcripts are censored earlier."""
    arm = Arm(prevalence=0.9, density=0.35, k=6, long_k=16)
    longest = replace(arm, k=16, long_k=0)
    expected = next(k for k in range(1, 17) if truth(replace(longest, k=k), pools).any_of_k >= 0.5)

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        flags, aware = drawn.flagged_positions, drawn.any
        times = np.where(aware, flags.argmax(axis=1) + 1, drawn.read.sum(axis=1)).astype(float)
        found = first_aware(times.tolist(), aware.tolist(), drawn.families, how)
        high = found.high if found.high is not None or found.low is None else float("inf")
        kaplan = Estimate(found.median, found.low, high, found.families, "Kaplan-Meier", found.withheld)
        return {
            "median first aware position": Covered(kaplan, expected),
            "median of the flagged alone": Valued(float(np.median(times[aware])) if aware.any() else None, expected),
        }

    return Study(
        "onset",
        "6 or 16 positions, 50 families of 4",
        trial,
        {"median of the flagged alone": "median first aware position"},
    )


def variance(pools: Pools) -> Study:
    """The variance split and the k-curve, which carry no interval: bias alone."""
    arm = Arm(families=50, per_family=4, prevalence=0.4, k=8, draws=2)
    hit, false = pools.explanations.rate(pools.explanations.aware), pools.explanations.other_rate(arm.av.near)
    carried = arm.av.voice * hit + (1 - arm.av.voice) * false
    p, gap = arm.prevalence, carried - false
    spread = arm.density * (1 - arm.density)
    family = arm.family_correlation * p * (1 - p) * (arm.density * gap) ** 2
    transcript = p * (1 - p) * (arm.density * gap) ** 2 - family + p * arm.position_correlation * spread * gap**2
    position = p * (1 - arm.position_correlation) * spread * gap**2
    curve = truth(replace(arm, k=4), pools).any_of_k

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        shape = drawn.flag.shape
        where = np.indices(shape).reshape(3, -1)
        split = variance_split(
            drawn.flag.ravel().tolist(), where[1].tolist(), where[0].tolist(), drawn.family[where[0]].tolist()
        )
        aware = drawn.flagged_positions.sum(axis=1).tolist()
        point = k_curve([(hits, arm.k) for hits in aware])[3]
        return {
            "variance between families": Valued(split.family if split else None, family),
            "variance between transcripts": Valued(split.transcript if split else None, transcript),
            "variance between positions": Valued(split.position if split else None, position),
            "k-curve at 4 of 8": Valued(point.rate, curve),
        }

    return Study("variance", "50 families of 4, 8 positions, 2 draws", trial)


def missing(pools: Pools) -> Study:
    """Aware explanations are truncated more often: no rate is right, and the bounds hold all the same."""
    arm = Arm(families=60, per_family=1, prevalence=0.5, density=0.2, av=Verbalizer(cut_aware=0.3, cut_other=0.02))

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        drawn = draw(arm, pools, rng)
        complete = float(drawn.flag.any(axis=(1, 2)).mean())
        undecided = ~drawn.any & ~drawn.judged.all(axis=(1, 2))
        found = rate_bounds(int(drawn.any.sum()), int(undecided.sum()), len(undecided))
        value = float(drawn.any[~undecided].mean())
        return {
            "any-of-k, worst and best case": Covered(
                Estimate(value, found.best, found.worst, len(undecided), "bounds"), complete
            )
        }

    return Study("missing", "30 % of aware explanations truncated, 2 % of others, 60 single transcripts", trial)


def power() -> Study:
    """A run finds the smallest detectable rate in 80 % of worlds: at least one flagged transcript."""
    size = Design(families=40, transcripts=3, family_correlation=0.1)
    rate = smallest_rate(size).rate or 0.0

    def trial(rng: np.random.Generator, how: Resampling) -> Mapping[str, Finding]:
        hits = rng.binomial(size.transcripts, beta(rate, size.family_correlation, size.families, rng))
        return {"smallest detectable rate, found": Valued(float(hits.any()), POWER)}

    return Study("power", "40 families of 3, correlation .1, at the smallest detectable rate", trial)


def as_read(drawn: Drawn) -> ReadArm:
    """An arm as the comparison at common k takes it."""
    return ReadArm(drawn.positions, drawn.families)


def common_any_of_k(drawn: Drawn, k: int, draws: int, how: Resampling) -> Estimate:
    """Mean expected any-of-k over the transcripts that supply k positions with so many judged draws."""
    found = [expected_any_of_k(positions, k, draws) for positions in drawn.positions]
    kept = [(value, family) for value, family in zip(found, drawn.families, strict=True) if value is not None]
    return cluster_mean([value for value, _ in kept], [family for _, family in kept], how)


def rates(drawn: Drawn) -> Floats:
    """(n,) any-of-k as 0 and 1."""
    return drawn.any.astype(np.float64)
