"""Upper bounds of a rate after zero (or few) events in n transcripts: exact, and by the rule of three.

They certify the specificity of a transcript-level claim: 0 flags in 299 transcripts bound the rate below 1 %."""

from __future__ import annotations

from math import ceil, log

from .distributions import beta_quantile
from .interval import LEVEL


def upper_bound(events: int, n: int, level: float = LEVEL) -> float:
    """Exact one-sided upper bound of a rate (Clopper and Pearson 1934); `1 - (1 - level)^(1/n)` for zero events.

    Args:
        events: Number of events, 0..n.
        n: Independent units. 0 gives the trivial bound 1.

    Raises:
        ValueError: when `events` is outside 0..n.
    """
    if not 0 <= events <= n:
        raise ValueError(f"events must lie in 0..n, got {events} of {n}")
    if events == n:
        return 1.0
    return beta_quantile(level, events + 1, n - events)


def rule_of_three(n: int) -> float:
    """Approximate 95 % bound for zero events: 3 / n, at most 1 (Hanley and Lippman-Hand 1983)."""
    return min(1.0, 3 / n) if n > 0 else 1.0


def units_needed(rate: float, level: float = LEVEL) -> int:
    """The smallest n for which zero events bound the rate strictly below `rate` (299 for 1 %, 59 for 5 %)."""
    if not 0 < rate < 1:
        raise ValueError(f"rate must lie strictly between 0 and 1, got {rate}")
    return ceil(log(1 - level) / log(1 - rate))
