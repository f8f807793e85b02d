"""A certificate that a false-flag rate lies below a limit, with the family as the unit.

Transcripts of one family are flagged together, so n transcripts are not n trials: counted as such, a true 5 % was
certified as "< 5 %" in 15-56 % of simulated worlds with 10 to 30 families. Two bounds are given. By family: exact, for
whatever correlation. Beta-binomial: at the least favourable correlation; tighter where families are flagged in part.
Both bound the rate of a random transcript of a random family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .interval import LEVEL
from .zero import units_needed, upper_bound

Undecided = Literal["flagged", "left out"]
CORRELATIONS = (1e-4, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95, 1 - 1e-4)
"""The grid over which the least favourable correlation within families is sought."""


@dataclass(frozen=True)
class Certificate:
    """Whether the rate is certified below the limit, and what it would take."""

    certified: bool
    reason: str
    below: float
    bound: float
    """Exact one-sided upper bound from counting families (Clopper and Pearson 1934)."""
    families: int
    flagged_families: int
    undecided: int
    """Transcripts without a verdict."""
    needed: int
    """Families with which this many flagged ones would just be certified."""


def certify(
    flags: Sequence[bool | None],
    families: Sequence[Hashable],
    below: float = 0.05,
    level: float = LEVEL,
    undecided: Undecided = "flagged",
) -> Certificate:
    """Certify on held-out deployment transcripts that fewer than `below` are flagged.

    A family is flagged when any of its transcripts is. That share is at least the rate of a random transcript of a
    random family, so its exact bound holds for the rate whatever the sizes and correlations.

    Args:
        flags: (n,) whether a transcript is flagged; None where undecided.
        families: (n,) theirs. They must not have been used to set the threshold (`certify_threshold`).
        below: The claim.
        level: One-sided confidence level.
        undecided: By default an undecided transcript counts as flagged, so that the certificate holds however it turns
            out; "left out" ignores it. Neither certifies when all are undecided.
    """
    counts = _family_counts(flags, families, undecided)
    flagged, total = sum(hits > 0 for hits, _ in counts), len(counts)
    bound = upper_bound(flagged, total, level)
    needed = families_needed(flagged, below, level)
    certified = total > 0 and bound < below
    missing = sum(flag is None for flag in flags)
    if certified:
        reason = f"{flagged} of {total} families flagged: below {bound:.3g} with {level:.0%} confidence"
    elif flags and missing == len(flags):
        reason = "every transcript is undecided"
    else:
        reason = f"{flagged} of {total} families flagged bound the rate at {bound:.3g}; {needed} families would do"
    return Certificate(certified, reason, below, bound, total, flagged, missing, needed)


def families_needed(flagged: int, below: float, level: float = LEVEL) -> int:
    """The smallest number of families with which `flagged` flagged ones bound the rate below `below`."""
    low, high = flagged, max(flagged, units_needed(below, level))
    while upper_bound(flagged, high, level) >= below:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if upper_bound(flagged, middle, level) < below else (middle, high)
    return high


def beta_binomial_bound(
    flags: Sequence[bool | None],
    families: Sequence[Hashable],
    level: float = LEVEL,
    undecided: Undecided = "flagged",
) -> float:
    """One-sided upper bound of the rate from the number of flagged transcripts, for families of unequal size.

    The largest rate at which so few flags (or fewer) have a chance above 1 - level, families being beta-binomial
    (Griffiths 1973, doi:10.2307/2529131) and their correlation the least favourable one. Without a flag that is the
    bound by family.

    Args:
        flags: As for `certify`.
        families: As for `certify`.
        level: One-sided confidence level.
        undecided: As for `certify`.
    """
    counts = _family_counts(flags, families, undecided)
    hits, sizes = sum(h for h, _ in counts), [n for _, n in counts]
    if hits == sum(sizes):
        return 1.0
    if hits == 0:
        return upper_bound(0, len(sizes), level)
    low, high = hits / sum(sizes), 1.0
    for _ in range(12):
        rate = (low + high) / 2
        low, high = (rate, high) if _tail(hits, sizes, rate) > 1 - level else (low, rate)
    return high


@dataclass(frozen=True)
class HeldOut:
    """A threshold set on one part of the families and certified on the rest."""

    threshold: float
    """Scores at or above it are flagged."""
    tuning_families: int
    certificate: Certificate


def certify_threshold(
    scores: Sequence[float | None],
    families: Sequence[Hashable],
    thresholds: Sequence[float],
    below: float = 0.05,
    level: float = LEVEL,
    tuning_share: float = 0.3,
    seed: int = 0,
) -> HeldOut | None:
    """Choose a threshold on some families and certify it on the others, which the choice has not seen.

    The lowest threshold that flags no family of the tuning part, else the highest. Because the other families have no
    part in the choice, the certificate holds at its level for any choice.

    Args:
        scores: (n,) score of a transcript; None where undecided, which counts as flagged.
        families: (n,) theirs.
        thresholds: Candidates.
        below: The claim.
        level: One-sided confidence level.
        tuning_share: Share of families to choose on.
        seed: Of the split, which depends on nothing else but the families in sorted order.

    Returns:
        None without families or thresholds.
    """
    names = sorted(set(families), key=repr)
    if not names or not thresholds:
        return None
    shuffled = np.random.default_rng(seed).permutation(len(names))
    tuning = {names[i] for i in shuffled[: round(tuning_share * len(names))]}
    seen = [score for score, family in zip(scores, families, strict=True) if family in tuning and score is not None]
    ordered = sorted(thresholds)
    chosen = next((t for t in ordered if all(score < t for score in seen)), ordered[-1])
    held_out = [(score, family) for score, family in zip(scores, families, strict=True) if family not in tuning]
    flags = [None if score is None else score >= chosen for score, _ in held_out]
    certificate = certify(flags, [family for _, family in held_out], below, level)
    return HeldOut(chosen, len(tuning), certificate)


def _family_counts(
    flags: Sequence[bool | None], families: Sequence[Hashable], undecided: Undecided
) -> list[tuple[int, int]]:
    """(flagged, transcripts) of each family."""
    counts: dict[Hashable, list[int]] = {}
    for flag, family in zip(flags, families, strict=True):
        if flag is None and undecided == "left out":
            continue
        row = counts.setdefault(family, [0, 0])
        row[0] += flag is None or flag
        row[1] += 1
    return [(hits, size) for hits, size in counts.values()]


def _tail(hits: int, sizes: Sequence[int], rate: float) -> float:
    """P(at most `hits` flags in all) of beta-binomial families, at the correlation where it is largest.

    By the product of the families' characteristic functions on the unit circle, which is exact for a finite count.
    """
    from scipy.special import betaln, gammaln

    correlation, total = np.array(CORRELATIONS)[:, None], sum(sizes)
    a, b = rate * (1 - correlation) / correlation, (1 - rate) * (1 - correlation) / correlation
    circle = np.exp(-2j * np.pi * np.arange(total + 1) / (total + 1))
    product = np.ones((len(CORRELATIONS), total + 1), dtype=np.complex128)
    for size, times in Counter(sizes).items():
        x = np.arange(size + 1)
        choose = gammaln(size + 1) - gammaln(x + 1) - gammaln(size - x + 1)
        family = np.exp(choose + betaln(x + a, size - x + b) - betaln(a, b))
        product *= (family @ circle[None, :] ** x[:, None]) ** times
    shares = np.fft.ifft(product, axis=1).real
    return float(shares[:, : hits + 1].sum(axis=1).max())
