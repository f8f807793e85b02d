"""Where the variance of a 0/1 outcome sits: between draws, positions, transcripts or families.

Says what to buy more of: where families carry the variance, more draws change nothing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class VarianceSplit:
    """Components that add up to the total; a component may come out slightly negative, as moments do."""

    mean: float
    family: float | None
    """A level that the data cannot tell from the next narrower one holds both, and the narrower one is None."""
    transcript: float | None
    position: float | None
    draw: float | None
    total: float

    def correlation(self, within: str) -> float | None:
        """Intraclass correlation of two draws that share a "family", "transcript" or "position" and nothing narrower.

        Raises:
            ValueError: Another level.
        """
        levels = ("family", "transcript", "position")
        if within not in levels:
            raise ValueError(f"'{within}' is no level; expected one of {', '.join(levels)}")
        parts = [self.family, self.transcript, self.position][: levels.index(within) + 1]
        if self.total <= 0 or any(part is None for part in parts):
            return None
        return sum(part for part in parts if part is not None) / self.total


def variance_split(
    outcomes: Sequence[bool],
    positions: Sequence[Hashable],
    transcripts: Sequence[Hashable],
    families: Sequence[Hashable],
) -> VarianceSplit | None:
    """Nested components by moments of pairs: unbiased for any balance and any distribution.

    Two draws have a mean product m1^2 in different families, more in one family, transcript or position; each component
    is the difference of two such means (Searle, Casella and McCulloch 1992, 11.2; for binary outcomes Ridout, Demetrio
    and Firth 1999, doi:10.1111/j.0006-341X.1999.00137.x). Every pair weighs alike.

    Args:
        outcomes: (n,) one a draw.
        positions: (n,) unique within a transcript.
        transcripts: (n,) unique within a family.
        families: (n,) theirs.

    Returns:
        None without draws.
    """
    if not outcomes:
        return None
    y = np.asarray(outcomes, dtype=np.float64)
    whole = list(zip(families, transcripts, positions, strict=True))
    keys: list[Sequence[Hashable]] = [
        [0] * len(whole),
        [family for family, _, _ in whole],
        [(family, transcript) for family, transcript, _ in whole],
        whole,
        list(range(len(whole))),
    ]
    products, pairs = zip(*(_pairs(y, key) for key in keys), strict=True)
    shared: list[float | None] = []
    for wide in range(4):
        count = pairs[wide] - pairs[wide + 1]
        shared.append(float(products[wide] - products[wide + 1]) / count if count else None)
    shared.append(float((y**2).mean()))
    across = shared[0]
    total = float(y.mean()) - (across if across is not None else float(y.mean()) ** 2)
    family, transcript, position, draw = _steps(shared)
    return VarianceSplit(float(y.mean()), family, transcript, position, draw, total)


def _steps(shared: Sequence[float | None]) -> list[float | None]:
    """Rise of the mean product from each level to the next known one; None where the level's own is not known."""
    steps: list[float | None] = []
    for level, low in enumerate(shared[:-1]):
        high = next(value for value in shared[level + 1 :] if value is not None)
        steps.append(None if low is None else high - low)
    return steps


def _pairs(y: NDArray[np.float64], keys: Sequence[Hashable]) -> tuple[float, float]:
    """Sum of products, and number, of ordered pairs (a draw with itself too) that share a key."""
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    index = np.array([order[key] for key in keys])
    sums, sizes = np.bincount(index, weights=y), np.bincount(index).astype(np.float64)
    return float((sums**2).sum()), float((sizes**2).sum())
