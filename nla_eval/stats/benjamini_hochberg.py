"""Benjamini and Hochberg's correction: which of many comparisons to follow up, at a controlled false discovery rate."""

from __future__ import annotations

from collections.abc import Sequence


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Benjamini and Hochberg 1995), by scipy.

    They control the false discovery rate under independence or positive dependence. A headline claim takes `holm`.

    Raises:
        ValueError: when a p-value lies outside [0, 1].
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)}")
    if not p_values:
        return []
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values, method="bh")]
