"""The fraction of aware positions, corrected for the classifier's errors, where transcripts come in families."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from .effective import effective_share
from .interval import LEVEL, Estimate, withheld
from .rogan_gladen import METHOD, Calibration, rogan_gladen


def corrected_fraction(
    fractions: Sequence[float], families: Sequence[Hashable], calibration: Calibration, level: float = LEVEL
) -> Estimate:
    """The mean fraction of aware positions by Rogan and Gladen, the family's design effect in its interval.

    Args:
        fractions: (n,) share of judged positions flagged, one a transcript.
        families: (n,) theirs.
        calibration: The classifier on explanations whose truth is known.
        level: Two-sided confidence level.
    """
    share = effective_share(fractions, families, level)
    if share is None:
        return withheld(None, 0, METHOD, "no transcript")
    found = rogan_gladen(share.value * share.units, share.units, calibration, level)
    return Estimate(found.value, found.low, found.high, share.families, f"{METHOD}, over families", found.withheld)
