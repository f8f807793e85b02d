"""Any-of-k of a transcript at a k and a number of draws that it shares with others, whatever it was read at.

k positions are drawn from the judged ones without replacement (within their stratum, under a stratified policy), THEN
the draws of each. Draws of one position are correlated, so chances are never pooled over positions. All exact; no
simulation. It does not know what a flag means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from math import comb
from typing import Any

import numpy as np

from .bootstrap import Floats

Draws = Mapping[Hashable, Sequence[bool | None]]
"""Flags of the draws of each position; None for a draw without a verdict."""
Wanted = int | Mapping[Hashable, int]
"""k positions; or so many from each stratum."""
Summary = tuple[tuple[str, int, int, int], ...]
"""Positions of a transcript that are alike, counted: (stratum, flagged draws, judged draws, number of positions)."""


def flag_chances(positions: Draws, draws: int) -> dict[Hashable, float]:
    """P(any of `draws` draws is flagged), drawn without replacement, of each position that has so many judged ones."""
    found: dict[Hashable, float] = {}
    for position, flags in positions.items():
        judged = [flag for flag in flags if flag is not None]
        if len(judged) >= draws:
            found[position] = 1 - comb(judged.count(False), draws) / comb(len(judged), draws)
    return found


def count_shares(
    positions: Draws, wanted: Wanted, draws: int = 1, strata: Mapping[Hashable, Hashable] | None = None
) -> Floats | None:
    """(k + 1,) chances that 0, 1, ... k of k positions are flagged.

    Args:
        positions: The transcript's flags.
        wanted: k; under a stratified policy, positions of each stratum (`allocate`).
        draws: Draws per position.
        strata: The stratum of each position; needed where `wanted` is by stratum.

    Returns:
        None where the transcript cannot supply them, which does not depend on its verdict.

    Raises:
        ValueError: k or draws below 1, or a stratum asked for without `strata`.
    """
    by_stratum = dict(wanted) if isinstance(wanted, Mapping) else {None: wanted}
    if draws < 1 or sum(by_stratum.values()) < 1 or min(by_stratum.values()) < 0:
        raise ValueError(f"need k >= 1 and draws >= 1, got k {wanted}, draws {draws}")
    if isinstance(wanted, Mapping) and strata is None:
        raise ValueError("k is given by stratum; expected the stratum of each position, too")
    chances: dict[Hashable, list[float]] = {stratum: [] for stratum in by_stratum}
    for position, chance in flag_chances(positions, draws).items():
        stratum = strata.get(position) if isinstance(wanted, Mapping) and strata is not None else None
        if stratum in chances:
            chances[stratum].append(chance)
    return _over_strata(by_stratum, chances)


def expected_any_of_k(
    positions: Draws, wanted: Wanted, draws: int = 1, strata: Mapping[Hashable, Hashable] | None = None
) -> float | None:
    """P(any of k positions is flagged in any of `draws` draws); see `count_shares`."""
    shares = count_shares(positions, wanted, draws, strata)
    return None if shares is None else 1 - float(shares[0])


def supplied(summary: Summary, draws: int) -> dict[str, int]:
    """Positions with so many judged draws, by stratum."""
    found: dict[str, int] = {}
    for stratum, _, judged, count in summary:
        if judged >= draws:
            found[stratum] = found.get(stratum, 0) + count
    return found


@lru_cache(maxsize=1 << 16)
def summary_shares(summary: Summary, wanted: tuple[tuple[str, int], ...] | int, draws: int) -> Floats | None:
    """`count_shares` of a summary; many transcripts have the same.

    Args:
        summary: The transcript's positions.
        wanted: k, or (stratum, positions of it) in any order.
        draws: Draws per position.
    """
    by_stratum = dict(wanted) if isinstance(wanted, tuple) else {"": wanted}
    if draws < 1 or sum(by_stratum.values()) < 1:
        raise ValueError(f"need k >= 1 and draws >= 1, got k {wanted}, draws {draws}")
    chances: dict[str, list[float]] = {stratum: [] for stratum in by_stratum}
    for stratum, flagged, judged, count in summary:
        place = stratum if isinstance(wanted, tuple) else ""
        if judged >= draws and place in chances:
            chances[place] += [1 - comb(judged - flagged, draws) / comb(judged, draws)] * count
    return _over_strata(by_stratum, chances)


def _over_strata(wanted: Mapping[Any, int], chances: Mapping[Any, Sequence[float]]) -> Floats | None:
    """Chances of 0, 1, ... flagged positions among those wanted of each stratum; None where one has too few."""
    total: Floats = np.ones(1)
    for stratum, k in wanted.items():
        if len(chances[stratum]) < k:
            return None
        total = np.convolve(total, _subset_counts(tuple(sorted(chances[stratum])), k))
    return total


def allocate(k: int, weights: Mapping[Hashable, float]) -> dict[Hashable, int]:
    """k positions over strata in proportion to their weights, by largest remainders (ties in the order given).

    Raises:
        ValueError: Weights that are negative or all zero.
    """
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise ValueError(f"weights must be positive, got {dict(weights)}")
    exact = {stratum: k * weight / total for stratum, weight in weights.items()}
    out = {stratum: int(share) for stratum, share in exact.items()}
    by_remainder = sorted(exact, key=lambda stratum: out[stratum] - exact[stratum])
    for stratum in by_remainder[: k - sum(out.values())]:
        out[stratum] += 1
    return out


def common_k(transcripts: Sequence[Draws], draws: int = 1, min_share: float = 0.9) -> int:
    """The largest k that at least `min_share` of the transcripts can supply with `draws` judged draws; 0 when none.

    For two arms take the smaller of their two.
    """
    supplied = sorted((len(flag_chances(t, draws)) for t in transcripts), reverse=True)
    if not supplied:
        return 0
    return supplied[max(0, -int(-min_share * len(supplied) // 1) - 1)]


@lru_cache(maxsize=4096)
def _subset_counts(chances: tuple[float, ...], k: int) -> Floats:
    """(k + 1,) distribution of flagged positions among k of them drawn without replacement."""
    n = len(chances)
    if all(chance in (0.0, 1.0) for chance in chances):
        aware = int(sum(chances))
        return np.array([comb(aware, x) * comb(n - aware, k - x) / comb(n, k) for x in range(k + 1)])
    # mean[c, x]: P(x flagged) over all c-subsets of the first i positions
    mean: Floats = np.zeros((k + 1, k + 1))
    mean[0, 0] = 1
    sizes = np.arange(1, k + 1)[:, None]
    for i, chance in enumerate(chances, start=1):
        with_it = mean[:-1] * (1 - chance)
        with_it[:, 1:] += mean[:-1, :-1] * chance
        mean[1:] = mean[1:] * np.maximum(i - sizes, 0) / i + with_it * np.minimum(sizes, i) / i
    shares: Floats = mean[k]
    return shares
