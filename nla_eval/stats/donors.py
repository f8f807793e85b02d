"""Any-of-k of a lane whose slots reuse donors' activations: transcripts share families, and slots share donors.

With one slot a transcript this is `two_way`. With k slots a transcript has up to k donors, so a donor is left out by
emptying its slots: a transcript stays flagged unless that donor filled all its flagged slots."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from .bootstrap import MIN_CLUSTERS
from .distributions import t_quantile
from .effective import kish_families
from .interval import Estimate, Resampling, withheld
from .perfect import perfect_rate

METHOD = "jackknife by family and donor"
_Codes = NDArray[np.int64]


def any_of_reused(
    flags: Sequence[bool],
    transcripts: Sequence[Hashable],
    donors: Sequence[Hashable],
    families: Sequence[Hashable],
    how: Resampling,
) -> Estimate:
    """The share of transcripts with a flagged slot, with an interval that holds for families and for donors.

    Variance by family plus by donor less by transcript, never less than either alone (Cameron, Gelbach and Miller 2011,
    doi:10.1198/jbes.2010.07136), each by leave-one-out. t with the rarer effective clusters less one, on the logit
    scale. `n` is the number of the rarer ones.

    Args:
        flags: (n,) whether a slot is flagged.
        transcripts: (n,) the slot's transcript.
        donors: (n,) the transcript whose activation fills it.
        families: (n,) of the slot's transcript.
        how: Level; nothing is resampled.
    """
    if not len(flags):
        return withheld(None, 0, METHOD, "no slot was filled")
    flagged = np.asarray(flags, dtype=bool)
    t, d, f = (_codes(keys) for keys in (transcripts, donors, families))
    n, donor_count = int(t.max()) + 1, int(d.max()) + 1
    aware = np.bincount(t, flagged, n) > 0
    family = np.zeros(n, dtype=np.int64)
    family[t] = f
    value, g = float(aware.mean()), min(donor_count, len(np.unique(f)))
    if g < MIN_CLUSTERS:
        return withheld(value, g, METHOD, f"{g} families or donors; an interval needs at least {MIN_CLUSTERS}")
    sizes = [np.bincount(d).astype(np.float64), np.bincount(family).astype(np.float64)]
    worth = min(kish_families(size) for size in sizes)
    if value in (0.0, 1.0):
        found = perfect_rate(value, int(worth + 1e-9), how.level)
        return Estimate(value, found.low, found.high, g, f"{found.method} or donors, the rarer", one_sided=True)
    lost = np.bincount(_sole(t[flagged], d[flagged]), minlength=donor_count)
    emptied = np.bincount(_sole(t, d), minlength=donor_count)
    by_donor = _spread((aware.sum() - lost) / np.maximum(n - emptied, 1))
    by_family, by_transcript = (_left_out(aware, keys) for keys in (family, np.arange(n)))
    variance = max(by_family + by_donor - by_transcript, by_family, by_donor)
    freedom = max(worth - 1, 1.0)
    spread = t_quantile(0.5 + how.level / 2, freedom) * sqrt(variance) / (value * (1 - value))
    centre = log(value / (1 - value))
    low, high = (1 / (1 + exp(-(centre + side * spread))) for side in (-1, 1))
    return Estimate(value, low, high, g, f"{METHOD}, t({freedom:.0f}) on the logit scale")


def _codes(keys: Sequence[Hashable]) -> _Codes:
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.fromiter((order[key] for key in keys), np.int64, len(keys))


def _sole(t: _Codes, d: _Codes) -> _Codes:
    """The donor of every transcript whose slots all have the same one."""
    pairs = np.unique(np.stack([t, d]), axis=1)
    which, first, count = np.unique(pairs[0], return_index=True, return_counts=True)
    del which
    donors: _Codes = pairs[1][first[count == 1]]
    return donors


def _left_out(aware: NDArray[np.bool_], keys: _Codes) -> float:
    sums, sizes = np.bincount(keys, aware), np.bincount(keys).astype(np.float64)
    return _spread((aware.sum() - sums) / (len(aware) - sizes))


def _spread(left_out: NDArray[np.float64]) -> float:
    g = len(left_out)
    return float((g - 1) / g * ((left_out - left_out.mean()) ** 2).sum())
