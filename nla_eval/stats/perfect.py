"""One-sided bounds for perfect results: a rate of 0 or 1, an AUROC of 0 or 1.

Resampling cannot see past them, for every resample is perfect, too; an exact bound can."""

from __future__ import annotations

from .interval import LEVEL, Estimate
from .zero import upper_bound

METHOD = "exact one-sided bound"


def perfect_rate(value: float, families: int, level: float = LEVEL) -> Estimate:
    """Bound of a rate that is 0 or 1 in every family (Clopper and Pearson 1934, over families).

    Args:
        value: 0 or 1.
        families: How many, or how many of equal size they are worth.
        level: One-sided confidence level.
    """
    bound = upper_bound(0, families, level)
    method = f"{METHOD}, over families"
    if value == 0:
        return Estimate(0.0, 0.0, bound, families, method, one_sided=True)
    return Estimate(1.0, 1 - bound, 1.0, families, method, one_sided=True)


def perfect_auroc(value: float, pairs: int, level: float = LEVEL) -> Estimate:
    """Bound of an AUROC that is 0 or 1.

    Families of both arms are paired off, each used once. A pair in which all transcripts are ordered alike is a
    success; none failed, so the chance to fail is bounded exactly, and with it 1 - AUROC, which is at most that chance.

    Args:
        value: 0 or 1.
        pairs: Independent pairs of families: the smaller number of an arm; half the families where all have both sides.
        level: One-sided confidence level.
    """
    found = perfect_rate(value, pairs, level)
    return Estimate(value, found.low, found.high, pairs, f"{METHOD}, over pairs of families", one_sided=True)


def perfect_difference(rates: tuple[float, float], families: tuple[int, int], level: float = LEVEL) -> Estimate:
    """Interval of the difference of two rates that are 0 or 1 in every family of their arms.

    Each rate may be off by its exact bound at half the error, to one side only; both together hold at `level`
    (Bonferroni).

    Args:
        rates: Each 0 or 1.
        families: Of each arm.
        level: Confidence level.
    """
    off = [upper_bound(0, n, (1 + level) / 2) for n in families]
    value = rates[0] - rates[1]
    low = value - (off[0] if rates[0] else 0.0) - (0.0 if rates[1] else off[1])
    high = value + (0.0 if rates[0] else off[0]) + (off[1] if rates[1] else 0.0)
    method = "exact bounds of both rates, over families"
    return Estimate(value, max(-1.0, low), min(1.0, high), min(families), method, one_sided=abs(value) == 1)
