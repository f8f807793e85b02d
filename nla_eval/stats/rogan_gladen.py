"""A share of imperfectly classified units, corrected for the classifier's sensitivity and specificity.

Rogan and Gladen 1978 (doi:10.1093/oxfordjournals.aje.a112510) give the point; Lang and Reiczigel 2014
(doi:10.1016/j.prevetmed.2013.09.015) the interval, which holds the error of the calibration, too. arXiv 2511.21140
uses the same plug-in and interval for language models as judges and adds how to split the labels. For the FRACTION of
explanations or positions only: an any-of-k rate needs `transcript_calibration`. The correction is towards a human's
reading of the texts, not towards belief."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from .distributions import normal_quantile
from .interval import LEVEL, Estimate, withheld

MIN_YOUDEN = 0.2
"""Below this sensitivity + specificity - 1 the classifier says too little to be corrected, and nothing is."""
METHOD = "Rogan-Gladen, Lang-Reiczigel interval"


@dataclass(frozen=True)
class Calibration:
    """How a classifier did on units whose truth is known. Counts may be effective, hence not whole."""

    hits: float
    """Positives that it flagged."""
    positives: float
    correct_rejections: float
    """Negatives that it did not flag."""
    negatives: float

    def __post_init__(self) -> None:
        if not (0 <= self.hits <= self.positives and 0 <= self.correct_rejections <= self.negatives):
            raise ValueError(f"hits and correct rejections must lie within positives and negatives, got {self}")

    @property
    def sensitivity(self) -> float:
        """Share of positives flagged."""
        return self.hits / self.positives

    @property
    def specificity(self) -> float:
        """Share of negatives not flagged."""
        return self.correct_rejections / self.negatives

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1 (Youden 1950)."""
        return self.sensitivity + self.specificity - 1


def rogan_gladen(flagged: float, units: float, calibration: Calibration, level: float = LEVEL) -> Estimate:
    """The true share of positives among `units`, of which `flagged` were flagged.

    Values below 0 or above 1 are set to 0 or 1; the interval keeps its own ends. Observed coverage of a nominal 95 %
    is in the tests. Flags of one transcript are not independent: pass an effective number as `units`
    (`effective_share`), or take `corrected_fraction`.

    Args:
        flagged: Units flagged, 0..units.
        units: Units classified; may be effective, hence not whole.
        calibration: The same classifier on known units.
        level: Two-sided confidence level.

    Returns:
        Withheld without units or labels, and where sensitivity + specificity - 1 < 0.2.
    """
    if not 0 <= flagged <= units:
        raise ValueError(f"flagged must lie in 0..units, got {flagged} of {units}")
    if units == 0:
        return withheld(None, 0, METHOD, "nothing was classified")
    if calibration.positives == 0 or calibration.negatives == 0:
        return withheld(None, int(units), METHOD, "the calibration lacks known positives or known negatives")
    if calibration.youden < MIN_YOUDEN:
        reason = f"sensitivity + specificity - 1 is {calibration.youden:.2f}; a correction needs at least {MIN_YOUDEN}"
        return withheld(None, int(units), METHOD, reason)
    value = (flagged / units + calibration.specificity - 1) / calibration.youden
    low, high = _lang_reiczigel(flagged, units, calibration, normal_quantile(0.5 + level / 2))
    return Estimate(min(max(value, 0.0), 1.0), min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0), int(units), METHOD)


def _lang_reiczigel(flagged: float, units: float, calibration: Calibration, z: float) -> tuple[float, float]:
    """Equations 6, 7, 16, 17: a success and a failure added per class of labels, z^2 units added, a shifted centre."""
    positives, negatives, n = calibration.positives + 2, calibration.negatives + 2, units + z * z
    sensitivity, specificity = (calibration.hits + 1) / positives, (calibration.correct_rejections + 1) / negatives
    apparent = (flagged + z * z / 2) / n
    youden = sensitivity + specificity - 1
    share = (apparent + specificity - 1) / youden
    of_sensitivity = sensitivity * (1 - sensitivity) / positives
    of_specificity = specificity * (1 - specificity) / negatives
    shift = 2 * z * z * (share * of_sensitivity - (1 - share) * of_specificity)
    variance = apparent * (1 - apparent) / n + share**2 * of_sensitivity + (1 - share) ** 2 * of_specificity
    half = z * sqrt(variance) / youden
    return share + shift - half, share + shift + half


def label_split(share: float, sensitivity: float, specificity: float) -> float:
    """The share of labels to spend on known positives so that the corrected rate's variance is least (2511.21140).

    The variance is p^2 se(1 - se) / m1 + (1 - p)^2 sp(1 - sp) / m0 with m1 + m0 fixed, hence m1 : m0 as the roots. Half
    where the classifier is perfect.
    """
    first = share * sqrt(sensitivity * (1 - sensitivity))
    second = (1 - share) * sqrt(specificity * (1 - specificity))
    return first / (first + second) if first + second > 0 else 0.5
