"""Abbott's correction of an any-of-k rate for a control lane's false positives: (p - c) / (1 - c).

A control's per-position rate can simply be subtracted. An any-of-k rate cannot, because a transcript that a false
positive has already flagged cannot be flagged again. The correction assumes that the two causes are independent;
`ASSUMPTION` states it for reports."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from .bootstrap import totals
from .interval import Estimate, Resampling, withheld
from .paired import paired_interval

ASSUMPTION = (
    "Assumes that, within a transcript, a false positive of the control kind strikes independently of a true reading, "
    "and that control activations draw false positives at the rate the measured ones do."
)


def abbott(p: float, c: float) -> float:
    """The rate left after removing a control rate (Abbott 1925); negative when the control flags more.

    Raises:
        ValueError: when `c` is 1, where nothing is left to correct.
    """
    if c >= 1:
        raise ValueError("the control flags every transcript; Abbott's correction is undefined")
    return (p - c) / (1 - c)


def abbott_paired(
    measured: Sequence[bool], control: Sequence[bool], clusters: Sequence[Hashable], how: Resampling
) -> Estimate:
    """The corrected any-of-k rate over transcripts with both lanes decided, with its interval over families (`paired`).

    Args:
        measured: (n,) whether any of the k measured readings was aware.
        control: (n,) the same for the control lane, in the same order.
        clusters: (n,) families.
    """
    if not clusters:
        return withheld(None, 0, "cluster", "no transcript has both lanes decided")
    sums = totals(clusters, [float(x) for x in measured], [float(x) for x in control], [1.0] * len(clusters))
    if sums[:, 1].sum() == sums[:, 2].sum():
        return withheld(None, len(sums), "cluster", "the control lane flags every transcript")
    p, c, n = sums.T
    size = float(n.mean())
    return paired_interval(p - c, n - c, (size, size - 1), n, how, -float("inf"))
