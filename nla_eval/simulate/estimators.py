"""Every printed estimate by name: the function of `stats` that the tally calls, and its truth in a planted setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..stats.abbott import abbott, abbott_paired
from ..stats.auroc import auroc_by_cluster
from ..stats.bootstrap import arm_difference, cluster_mean, cluster_ratio
from ..stats.corrected import corrected_fraction
from ..stats.interval import Estimate, Resampling
from ..stats.kappa import cohens_kappa, gwets_ac1
from ..stats.paired import paired_difference
from ..stats.rogan_gladen import Calibration
from ..stats.transcript_calibration import TranscriptFlags, corrected_prevalence
from .pools import Flags, Pools
from .truth import Truth, auroc_of, truth
from .world import Arm, Drawn, draw, reread

OTHER_JUDGE = (0.9, 0.97)
"""Sensitivity and specificity of a planted second judge, whose errors are its own."""


@dataclass(frozen=True)
class Setting:
    """The arms of an experiment. The donor lane stands in the evaluation arm's slots."""

    evaluation: Arm
    deployment: Arm
    pools: Pools
    known: int = 40
    """Families of transcripts known to be aware, and as many known not to be, for calibration."""

    def truths(self) -> Truths:
        """Exact expectations."""
        donor = truth(replace(self.evaluation, prevalence=0.0), self.pools)
        return Truths(truth(self.evaluation, self.pools), truth(self.deployment, self.pools), donor, self.pools)

    def drawn(self, rng: np.random.Generator) -> Experiment:
        """One experiment."""
        evaluation, pools = draw(self.evaluation, self.pools, rng), self.pools
        aware, other = (
            draw(replace(self.evaluation, families=self.known, prevalence=prevalence), pools, rng)
            for prevalence in (1.0, 0.0)
        )
        hits = evaluation.voiced[:, :, 0]
        sensitivity, specificity = OTHER_JUDGE
        second = rng.random(hits.shape) < np.where(hits, sensitivity, 1 - specificity)
        texts = pools.explanations
        near = rng.random(200) < self.evaluation.av.near
        others = np.where(near, rng.choice(texts.near, 200), rng.choice(texts.ordinary, 200))
        return Experiment(
            evaluation=evaluation,
            deployment=draw(self.deployment, pools, rng),
            donor=reread(evaluation, self.evaluation, pools, rng, carries=False),
            second=second,
            calibration=Calibration(
                hits=float(texts.flags[rng.choice(texts.aware, 200)].sum()),
                positives=200,
                correct_rejections=float((~texts.flags[others]).sum()),
                negatives=200,
            ),
            known_aware=aware,
            known_other=other,
        )


@dataclass(frozen=True)
class Experiment:
    """One draw of a setting."""

    evaluation: Drawn
    deployment: Drawn
    donor: Drawn
    second: Flags
    """(n, k) verdicts of a second judge on the first draws."""
    calibration: Calibration
    """The classifier on 200 known explanations of each kind."""
    known_aware: Drawn
    known_other: Drawn


@dataclass(frozen=True)
class Truths:
    """Exact expectations of a setting."""

    evaluation: Truth
    deployment: Truth
    donor: Truth
    pools: Pools

    def second_judge(self) -> tuple[float, float, float]:
        """P(both judges flag), P(the first does), P(the second does), of an explanation."""
        e, (sensitivity, specificity) = self.evaluation, OTHER_JUDGE
        hit = self.pools.explanations.rate(self.pools.explanations.aware)
        false = (e.explanation - e.voiced * hit) / (1 - e.voiced)
        both = e.voiced * hit * sensitivity + (1 - e.voiced) * false * (1 - specificity)
        return both, e.explanation, e.voiced * sensitivity + (1 - e.voiced) * (1 - specificity)


@dataclass(frozen=True)
class Printed:
    """One estimate of a report."""

    name: str
    of: Callable[[Experiment, Resampling], Estimate]
    truth: Callable[[Truths], float]


def _mean(values: Flags, drawn: Drawn, how: Resampling) -> Estimate:
    return cluster_mean(values.astype(float).tolist(), drawn.families, how)


def _any_of_k(e: Experiment, how: Resampling) -> Estimate:
    return _mean(e.evaluation.any, e.evaluation, how)


def _fraction(e: Experiment, how: Resampling) -> Estimate:
    return cluster_mean(e.evaluation.fraction.tolist(), e.evaluation.families, how)


def _explanations(e: Experiment, how: Resampling) -> Estimate:
    seen, judged = e.evaluation.seen.sum(axis=(1, 2)), e.evaluation.judged.sum(axis=(1, 2))
    return cluster_ratio(seen.tolist(), judged.tolist(), e.evaluation.families, how)


def _verbalized(e: Experiment, how: Resampling) -> Estimate:
    return _mean(e.evaluation.v, e.evaluation, how)


def _unverbalized(e: Experiment, how: Resampling) -> Estimate:
    return _mean(e.evaluation.any & ~e.evaluation.v, e.evaluation, how)


def _given_not_v(e: Experiment, how: Resampling) -> Estimate:
    silent = ~e.evaluation.v
    flags = e.evaluation.any[silent].astype(float).tolist()
    return cluster_ratio(flags, [1.0] * len(flags), e.evaluation.family[silent].tolist(), how)


def _difference(e: Experiment, how: Resampling) -> Estimate:
    ours, theirs = e.evaluation, e.deployment
    return arm_difference(ours.fraction.tolist(), ours.families, theirs.fraction.tolist(), theirs.families, how)


def _auroc(e: Experiment, how: Resampling) -> Estimate:
    ours, theirs = e.evaluation, e.deployment
    return auroc_by_cluster(ours.fraction.tolist(), ours.families, theirs.fraction.tolist(), theirs.families, how)


def _abbott(e: Experiment, how: Resampling) -> Estimate:
    return abbott_paired(e.evaluation.any.tolist(), e.donor.any.tolist(), e.evaluation.families, how)


def _less_donor(e: Experiment, how: Resampling) -> Estimate:
    return paired_difference(e.evaluation.fraction.tolist(), e.donor.fraction.tolist(), e.evaluation.families, how)


def _corrected(e: Experiment, how: Resampling) -> Estimate:
    return corrected_fraction(e.evaluation.fraction.tolist(), e.evaluation.families, e.calibration, how.level)


def _corrected_prevalence(e: Experiment, how: Resampling) -> Estimate:
    measured, aware, unaware = (
        TranscriptFlags(drawn.any.tolist(), drawn.families, drawn.flag.shape[1], drawn.flag.shape[2])
        for drawn in (e.evaluation, e.known_aware, e.known_other)
    )
    return corrected_prevalence(measured, aware, unaware, how.level)


def _judges(e: Experiment) -> tuple[list[bool], list[bool], list[int]]:
    first = e.evaluation.flag[:, :, 0]
    clusters = np.repeat(e.evaluation.family, first.shape[1])
    return first.ravel().tolist(), e.second.ravel().tolist(), clusters.tolist()


def _kappa_truth(t: Truths) -> float:
    both, first, second = t.second_judge()
    observed, chance = 1 - first - second + 2 * both, first * second + (1 - first) * (1 - second)
    return (observed - chance) / (1 - chance)


def _ac1_truth(t: Truths) -> float:
    both, first, second = t.second_judge()
    share = (first + second) / 2
    observed, chance = 1 - first - second + 2 * both, 2 * share * (1 - share)
    return (observed - chance) / (1 - chance)


PRINTED: tuple[Printed, ...] = (
    Printed("any-of-k, by family", _any_of_k, lambda t: t.evaluation.any_of_k),
    Printed("fraction of positions", _fraction, lambda t: t.evaluation.fraction),
    Printed("explanation rate", _explanations, lambda t: t.evaluation.explanation),
    Printed("V, by family", _verbalized, lambda t: t.evaluation.verbalized),
    Printed("unverbalized, by family", _unverbalized, lambda t: t.evaluation.unverbalized),
    Printed(
        "P(N given not V), by family",
        _given_not_v,
        lambda t: t.evaluation.unverbalized / (1 - t.evaluation.verbalized),
    ),
    Printed(
        "fraction, evaluation less deployment", _difference, lambda t: t.evaluation.fraction - t.deployment.fraction
    ),
    Printed("AUROC against deployment", _auroc, lambda t: auroc_of(t.evaluation.counts, t.deployment.counts)),
    Printed("any-of-k less donor lane (Abbott)", _abbott, lambda t: abbott(t.evaluation.any_of_k, t.donor.any_of_k)),
    Printed("fraction less donor lane", _less_donor, lambda t: t.evaluation.fraction - t.donor.fraction),
    Printed("fraction corrected (Rogan-Gladen)", _corrected, lambda t: t.evaluation.voiced),
    Printed("prevalence corrected (known transcripts)", _corrected_prevalence, lambda t: t.evaluation.prevalence),
    Printed("kappa of two judges", lambda e, how: cohens_kappa(*_judges(e), how), _kappa_truth),
    Printed("AC1 of two judges", lambda e, how: gwets_ac1(*_judges(e), how), _ac1_truth),
)
"""The estimates of one suite against deployment, with one draw a position."""
