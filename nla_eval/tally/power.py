"""Power of a run: the smallest rate it could have told from zero and from its false positives, and the size it needs.

In: the size of a run, given or counted in frames, and what is asked. Out: a typed table. The tests are exact, on the
effective number of transcripts (`stats.power`); the false-positive rate is taken as known. It reads no file and prints
nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from ..judgement import JUDGED_SHARE, Headline
from ..readings import Lane
from ..stats.certificate import families_needed
from ..stats.interval import LEVEL
from ..stats.power import POWER, Design, smallest_rate, transcripts_needed
from ..stats.variance import variance_split
from ..transcript import Arm
from .frames import Definitions, Frames, column, draws_of
from .trained_on import without_trained_on
from .types import Frozen
from .units import Unit, lane_units
from .verdicts import Verdicts, verdicts

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Any-of-k rates whose run is sized unless others are asked for."""
LIMITS = (0.05, 0.01)
"""False-flag rates that a deployment arm may be asked to certify."""
FEW_FLAGS = 10
"""With fewer flags than this a correlation is assumed, not measured."""


@dataclass(frozen=True)
class RunSize:
    """The size of one suite in a run, and how alike its parts are."""

    families: int
    per_family: int = 1
    """Transcripts per family."""
    k: int = 12
    """Positions per transcript."""
    draws: int = 1
    """Explanations per position."""
    false_positive_rate: float = 0.0
    """Explanations of ordinary use that are flagged."""
    family_correlation: float = 0.1
    """Of the verdicts of two transcripts of a family."""
    position_correlation: float = 0.2
    """Of two positions of a transcript."""
    draw_correlation: float = 0.5
    """Of two draws of a position."""
    suite: str = "given"
    arm: str = ""
    measured: tuple[str, ...] = ()
    """Names of the fields above that were counted in the run; the others are given or assumed."""

    @property
    def design(self) -> Design:
        """The same as the estimators take it."""
        return Design(self.families, self.per_family, self.k, self.family_correlation, self.position_correlation)

    @property
    def baseline(self) -> float:
        """The any-of-k rate that false positives alone make: k counts chances, so draws raise it, too."""
        position = Design(families=1, k=self.draws, position_correlation=self.draw_correlation)
        return self.design.any_of_k(position.any_of_k(self.false_positive_rate))


@dataclass(frozen=True)
class Asked:
    """What is asked of a run."""

    rates: Sequence[float] = RATES
    power: float = POWER
    level: float = LEVEL
    limits: Sequence[float] = field(default=LIMITS)


class Smallest(Frozen):
    """The smallest any-of-k rate that a run tells from a known rate."""

    rate: float | None
    """None where no rate would do."""
    position_rate: float | None
    """The rate per position behind it."""
    flagged_needed: int
    """Flagged effective transcripts from which on the exact test rejects."""


class Needed(Frozen):
    """How large a run of this kind must be to tell a rate from another."""

    rate: float
    transcripts_from_zero: int | None
    families_from_zero: int | None
    transcripts_from_false_positives: int | None
    """None where the rate is no higher than the false positives make, or a million families would not do."""
    families_from_false_positives: int | None


class CertificateNeeds(Frozen):
    """Deployment families, none of them flagged, that certify a false-flag rate below a limit."""

    limit: float
    families: int


class SuitePower(Frozen):
    """What one suite of a run can tell."""

    suite: str
    arm: str
    families: int
    transcripts: int
    k: int
    draws: int
    false_positive_rate: float
    family_correlation: float
    position_correlation: float
    draw_correlation: float
    measured: list[str]
    """Which of the figures above were counted in the run."""
    effective: int
    """Independent transcripts that the suite is worth."""
    baseline: float
    """The any-of-k rate that false positives alone make."""
    from_zero: Smallest
    from_false_positives: Smallest
    needed: list[Needed]
    certificate: list[CertificateNeeds]


class PowerTable(Frozen):
    """What a run can tell."""

    power: float
    level: float
    suites: list[SuitePower]


def power_table(sizes: Sequence[RunSize], asked: Asked) -> PowerTable:
    """What each suite of a run can tell, and what it would take."""
    return PowerTable(power=asked.power, level=asked.level, suites=[_suite(size, asked) for size in sizes])


def sizes_of(frames: Frames, definitions: Definitions, headline: Headline, assumed: RunSize) -> list[RunSize]:
    """The size of every suite of a run as it was read; what it cannot tell is taken from `assumed`.

    False positives are those of the deployment arm. A correlation is measured over at least `FEW_FLAGS` flags.
    """
    found = verdicts(without_trained_on(frames)[0], definitions)
    units = lane_units(found, Lane.MEASURED, headline, JUDGED_SHARE)
    readings = found.readings.filter(pl.col("lane") == Lane.MEASURED.value)
    ordinary = [u for u in units if u.arm == Arm.DEPLOYMENT]
    judged = sum(u.judged_readings for u in ordinary)
    known = {"false_positive_rate": sum(u.aware_readings for u in ordinary) / judged} if judged else {}
    known |= _correlations(found, units, readings, headline)
    sizes = []
    for arm, suite in dict.fromkeys((u.arm, u.suite) for u in units):
        inside = [u for u in units if (u.arm, u.suite) == (arm, suite)]
        families = len({u.family for u in inside})
        read = {
            "families": families,
            "per_family": max(1, round(len(inside) / families)),
            "k": max(1, round(sum(u.planned for u in inside) / len(inside))),
            "draws": draws_of(readings.filter(pl.col("t").is_in([u.t for u in inside]))),
        }
        # mypy cannot see which field each value belongs to
        size = replace(assumed, **{**read, **known}, suite=suite, arm=arm)  # type: ignore[arg-type]
        sizes.append(replace(size, measured=tuple({**read, **known})))
    return sizes


def _correlations(
    found: Verdicts, units: Sequence[Unit], readings: pl.DataFrame, headline: Headline
) -> dict[str, float]:
    """Those that enough flags show, over all suites; differences between suites are not taken for correlation."""
    decided = [u for u in units if u.state is not None]
    of = {u.t: u for u in units}
    rows = readings.filter("judged").select("t", "position", column(headline)).iter_rows()
    flags = [(of[t], position, flag) for t, position, flag in rows if t in of]
    if not decided or sum(flag for _, _, flag in flags) < FEW_FLAGS:
        return {}
    ids = [u.digest for u in decided]
    transcripts = variance_split([bool(u.state) for u in decided], ids, ids, [u.cluster for u in decided])
    draws = variance_split(
        [flag for _, _, flag in flags],
        [position for _, position, _ in flags],
        [unit.digest for unit, _, _ in flags],
        [unit.cluster for unit, _, _ in flags],
    )
    measured = {
        "family_correlation": transcripts.correlation("family") if transcripts else None,
        "position_correlation": draws.correlation("transcript") if draws else None,
        "draw_correlation": draws.correlation("position") if draws else None,
    }
    return {name: min(max(value, 0.0), 1.0) for name, value in measured.items() if value is not None}


def _suite(size: RunSize, asked: Asked) -> SuitePower:
    design, baseline = size.design, size.baseline
    return SuitePower(
        suite=size.suite,
        arm=size.arm,
        families=size.families,
        transcripts=size.families * size.per_family,
        k=size.k,
        draws=size.draws,
        false_positive_rate=size.false_positive_rate,
        family_correlation=size.family_correlation,
        position_correlation=size.position_correlation,
        draw_correlation=size.draw_correlation,
        measured=list(size.measured),
        effective=design.effective,
        baseline=baseline,
        from_zero=_smallest(design, 0.0, asked),
        from_false_positives=_smallest(design, baseline, asked),
        needed=[_needed(design, rate, baseline, asked) for rate in asked.rates],
        certificate=[CertificateNeeds(limit=x, families=families_needed(0, x, asked.level)) for x in asked.limits],
    )


def _smallest(design: Design, baseline: float, asked: Asked) -> Smallest:
    found = smallest_rate(design, baseline, asked.power, asked.level)
    return Smallest(rate=found.rate, position_rate=found.position_rate, flagged_needed=found.flagged_needed)


def _needed(design: Design, rate: float, baseline: float, asked: Asked) -> Needed:
    zero, false = (transcripts_needed(design, rate, base, asked.power, asked.level) for base in (0.0, baseline))
    return Needed(
        rate=rate,
        transcripts_from_zero=zero,
        families_from_zero=None if zero is None else zero // design.transcripts,
        transcripts_from_false_positives=false,
        families_from_false_positives=None if false is None else false // design.transcripts,
    )
