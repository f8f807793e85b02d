"""Any-of-k: the probability that at least one of k positions is aware, and how a per-explanation error grows with k.

The k-curve subsamples POSITIONS, never draws, without replacement. Its probabilities are exact (hypergeometric), not
simulated. It estimates the paper's any-of-k only if positions were sampled uniformly; the caller must check that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True)
class KPoint:
    """The k-curve at one k."""

    k: int
    rate: float
    """Mean over transcripts of P(any of k positions is aware)."""
    transcripts: int
    """Number of transcripts averaged: those with at least k judged positions."""


def any_of_k(aware: int, judged: int, k: int) -> float:
    """P(at least one aware position among k drawn without replacement from `judged`, of which `aware` are aware).

    `1 - C(judged - aware, k) / C(judged, k)`, in exact integer arithmetic.

    Raises:
        ValueError: unless 0 <= aware <= judged and 1 <= k <= judged.
    """
    if not (0 <= aware <= judged and 1 <= k <= judged):
        raise ValueError(f"need 0 <= aware <= judged and 1 <= k <= judged, got aware {aware}, judged {judged}, k {k}")
    return 1 - comb(judged - aware, k) / comb(judged, k)


def k_curve(positions: Sequence[tuple[int, int]], min_share: float = 0.9) -> list[KPoint]:
    """The mean any-of-k over transcripts for k = 1, 2, ...

    Args:
        positions: (aware, judged) positions of each transcript; transcripts without a judged position are left out.
        min_share: The curve ends before the first k for which fewer than this share of transcripts have k judged
            positions. This keeps its population nearly constant.

    Returns:
        One point per k, empty when no transcript has a judged position.
    """
    alike = sorted(Counter((aware, judged) for aware, judged in positions if judged > 0).items())
    total = sum(count for _, count in alike)
    curve: list[KPoint] = []
    for k in range(1, max((judged for (_, judged), _ in alike), default=0) + 1):
        able = [(any_of_k(aware, judged, k), count) for (aware, judged), count in alike if judged >= k]
        transcripts = sum(count for _, count in able)
        if transcripts < min_share * total:
            break
        rate = sum(rate * count for rate, count in able) / transcripts
        curve.append(KPoint(k=k, rate=rate, transcripts=transcripts))
    return curve


def implied_any_of_k(rate: float, k: int) -> float:
    """The any-of-k rate of k independent explanations: `1 - (1 - rate)^k`. A rate of 0.5 % gives 22 % at k = 50.

    Positions of one transcript are correlated, which lowers the real value; compare with the observed any-of-k.
    """
    if not 0 <= rate <= 1 or k < 0:
        raise ValueError(f"need 0 <= rate <= 1 and k >= 0, got rate {rate}, k {k}")
    return 1 - (1 - rate) ** k
