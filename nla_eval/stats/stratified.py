"""The fraction of aware positions when positions were sampled by stratum: each stratum weighs as many tokens as it has.

A stratified policy reads rare strata (tool calls, first turns) more densely, so that the plain share of aware positions
is that of the sample, not of the transcript."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .bootstrap import cluster_mean
from .interval import Estimate, Resampling


@dataclass(frozen=True)
class Stratum:
    """One stratum of one transcript."""

    size: int
    """Positions that the policy could have drawn from."""
    judged: int
    aware: int

    def __post_init__(self) -> None:
        if not 0 <= self.aware <= self.judged <= self.size:
            raise ValueError(f"need 0 <= aware <= judged <= size, got {self}")


@dataclass(frozen=True)
class WeightedFraction:
    """The fraction over all positions of the strata."""

    estimate: Estimate
    """Mean over transcripts, with its cluster interval."""
    transcripts: int
    left_out: int
    """Transcripts with more than the tolerated share of positions in strata without a judged one."""


def weighted_fraction(strata: Sequence[Stratum], tolerated: float = 0.1) -> float | None:
    """One transcript: sum of size x aware / judged over sum of size (Horvitz and Thompson 1952, stratified).

    Args:
        strata: Of the transcript.
        tolerated: Share of positions that may lie in strata without a judged position; the others stand for them.

    Returns:
        None where more than that is not judged.
    """
    total, read = sum(s.size for s in strata), sum(s.size for s in strata if s.judged)
    if read == 0 or total - read > tolerated * total:
        return None
    return sum(s.size * s.aware / s.judged for s in strata if s.judged) / read


def weighted_fraction_mean(
    transcripts: Sequence[Sequence[Stratum]], families: Sequence[Hashable], how: Resampling, tolerated: float = 0.1
) -> WeightedFraction:
    """The mean weighted fraction over transcripts, families resampled whole.

    Args:
        transcripts: (n,) strata of each.
        families: (n,) theirs.
        how: See `cluster_interval`.
        tolerated: See `weighted_fraction`.
    """
    found = [(weighted_fraction(s, tolerated), family) for s, family in zip(transcripts, families, strict=True)]
    kept = [(value, family) for value, family in found if value is not None]
    estimate = cluster_mean([value for value, _ in kept], [family for _, family in kept], how)
    return WeightedFraction(estimate, len(kept), len(found) - len(kept))
