"""Any-of-k corrected at the level it is claimed: by recall and false rate of whole transcripts.

Errors of single explanations do not say how often a transcript is wrongly flagged, because errors within a transcript
are correlated. Transcripts whose truth is known, read at the same k and the same draws, do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .effective import EffectiveShare, effective_share
from .interval import LEVEL, Estimate, withheld
from .rogan_gladen import Calibration, rogan_gladen

METHOD = "Rogan-Gladen on transcripts, Lang-Reiczigel interval over families"


@dataclass(frozen=True)
class TranscriptFlags:
    """Any-of-k flags of transcripts that were read alike."""

    flags: Sequence[bool]
    families: Sequence[Hashable]
    k: int
    """Positions read per transcript."""
    draws: int
    """Explanations per position."""


def corrected_prevalence(
    measured: TranscriptFlags, aware: TranscriptFlags, unaware: TranscriptFlags, level: float = LEVEL
) -> Estimate:
    """The share of transcripts that are aware, from any-of-k flags and the flags of known transcripts.

    Each of the three rates enters with its effective number of transcripts, so that families widen the interval
    wherever they are (Rogan and Gladen 1978; Lang and Reiczigel 2014; Korn and Graubard 1998).

    Args:
        measured: The transcripts in question.
        aware: Transcripts known to be aware: recall.
        unaware: Transcripts known not to be: false rate.
        level: Two-sided confidence level.

    Returns:
        Withheld where k or draws differ, a set is empty, or recall - false rate < 0.2.
    """
    reads = {(part.k, part.draws) for part in (measured, aware, unaware)}
    if len(reads) > 1:
        said = ", ".join(f"k = {k} with {draws} draws" for k, draws in sorted(reads))
        return withheld(None, 0, METHOD, f"calibration and run were read differently: {said}")
    shares = [effective_share([float(f) for f in p.flags], p.families, level) for p in (measured, aware, unaware)]
    if any(share is None for share in shares):
        return withheld(None, 0, METHOD, "measured, known aware and known unaware transcripts are all needed")
    rate, recall, false_rate = (share for share in shares if share is not None)
    found = rogan_gladen(rate.value * rate.units, rate.units, _calibration(recall, false_rate), level)
    return Estimate(found.value, found.low, found.high, rate.families, METHOD, found.withheld)


def _calibration(recall: EffectiveShare, false_rate: EffectiveShare) -> Calibration:
    return Calibration(
        hits=recall.value * recall.units,
        positives=recall.units,
        correct_rejections=(1 - false_rate.value) * false_rate.units,
        negatives=false_rate.units,
    )
