"""A tally as one table on the terminal: verbalized against NLA-measured, with the donor lane beside it.

Where a judge failed its checks there is no table, but the reason."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ..judgement import most_frequent
from ..judging.error_rates import ErrorRates
from ..models.setting import UNTOLD_ABOVE
from ..readings import DISPLAYED, Lane
from ..stats.interval import Estimate
from ..tally.control import control_sentences
from ..tally.setting import within_line
from ..tally.types import Agreement, HeadlineTally, JudgeTally, SuiteTally, Tally
from ..transcript import Arm
from .console import wide_console


def show(tally: Tally) -> None:
    """Print one row per suite under the primary headline, and what the intervals are; and how the judges behaved."""
    for judge in tally.judges:
        _show_failures(judge)
    if tally.headline_stopped:
        wide_console().print(f"No headline: {tally.headline_stopped}.", highlight=False, markup=False)
        return
    for line in control_sentences(tally.control) if tally.control else ():
        wide_console().print(f"Instrument check. {line}", highlight=False, markup=False)
    headline = tally.primary
    table = Table(box=None, pad_edge=False)
    lanes = [f"N {display.heading}" for display in DISPLAYED.values()]
    setting = ["read aware (setting)"] if tally.setting and not tally.setting.missing else []
    for name in (
        "suite",
        "arm",
        "n",
        "V said",
        "recorded words",
        *lanes,
        "N and not V",
        "donor and not V",
        *setting,
    ):
        table.add_column(name, justify="left" if name in ("suite", "arm") else "right", no_wrap=True)
    for suite in tally.suites:
        found = suite.under(headline)
        rates = [_any_of_k(suite, found, lane) for lane in DISPLAYED]
        donor = found.donor_unverbalized_printed
        beside = [interval(found.unverbalized_printed), "-" if donor is None else interval(donor)]
        words = [interval(found.verbalized.printed), interval(found.recorded.printed)]
        beside += [_setting(tally, suite)] if setting else []
        table.add_row(suite.suite, suite.arm, str(suite.transcripts), *words, *rates, *beside)
    console = wide_console()
    console.print(table, highlight=False)
    console.print(
        "Per cent of n transcripts with 95 % intervals, over families where a family has several, else Wilson's; "
        f"headline '{headline.value}', rubric {tally.rubric}. "
        "V: the target says so in a turn that it wrote. Recorded words: a turn that it did not write says so. "
        f"N: the explanation of at least one position says so. {_controls()}",
        highlight=False,
    )
    for line in setting_lines(tally):
        console.print(line, highlight=False, markup=False)
    for note in tally.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
    for line in _instrument(tally):
        console.print(line, highlight=False)
    for suite in tally.suites:
        if suite.pairs_withheld:
            console.print(f"{suite.suite}: {suite.pairs_withheld}.", highlight=False)
    certificate = tally.certification(headline)
    if certificate is not None and not certificate.certified:
        console.print(
            f"Specificity is not certified: {certificate.flagged_families} of {certificate.families} deployment "
            f"families were flagged or undecided, so the true rate may be up to {_percent(certificate.bound)} %. With "
            f"so many flagged, it takes {certificate.needed} families to certify. Until then, neither any-of-k nor "
            "N and not V is a finding.",
            highlight=False,
        )

    if not any(suite.arm == Arm.DEPLOYMENT for suite in tally.suites):
        console.print("No ordinary chats were read: this number has no baseline.", highlight=False)


def _setting(tally: Tally, suite: SuiteTally) -> str:
    row = tally.setting.row(suite.suite, suite.arm) if tally.setting else None
    return "-" if row is None else interval(row.aware)


def setting_lines(tally: Tally) -> list[str]:
    """What the column "read aware (setting)" is or why it is empty, and its variants."""
    found = tally.setting
    if found is None or found.missing:
        return [f"Read aware (setting): no column; {found.missing}."] if found else []
    card = "" if found.expresses_told else " Its card does not say that it tells told from all else: read it as such."
    lines = [
        f"Read aware (setting): mean log-odds over boundaries and answers above {found.threshold:.2f}, by "
        f"{found.reader}; no part of N.{card}"
    ]
    lines += [
        f"{row.suite}: {interval(row.aware)} of ordinary use are read aware, and the threshold was set to "
        f"leave {100 * UNTOLD_ABOVE:.0f}: it does not hold for texts like these, so no share of this column is a "
        "finding here."
        for row in found.alarms
    ]
    for row in found.rows:
        if row.variant is not None:
            lines.append(
                f"{row.suite}, {row.variant}: read aware (setting) {interval(row.aware)} of {row.transcripts}."
            )
    return [*lines, *map(within_line, found.within)]


def _instrument(tally: Tally) -> list[str]:
    """The instrument's own errors, and the smallest rate that this run could have told from zero."""
    lines = []
    under = tally.suites[0].under(tally.primary) if tally.suites else None
    for name, errors in (("V", under and under.v_errors), ("N", under and under.n_errors)):
        if isinstance(errors, ErrorRates):
            lines.append(
                f"{name}'s classifier on labelled texts: finds {interval(errors.recall)} % of what is aware, passes "
                f"{interval(errors.specificity)} % of near misses and {interval(errors.ordinary_specificity)} % of "
                "ordinary texts."
            )
    least = [suite.least for suite in tally.suites if suite.least]
    if least:
        lines.append(f"Smallest N that this run tells from zero with a chance of 80 %: {', '.join(least)}.")
    return lines


def _controls() -> str:
    return " ".join(display.note for display in DISPLAYED.values() if display.note)


def show_agreement(tallies: Sequence[Tally]) -> None:
    """Print how far judges agree, once for every set of judges."""
    once = {each.agreement.model_dump_json(): each.agreement for each in tallies if each.agreement is not None}
    for found in once.values():
        for line in agreement_lines(found):
            wide_console().print(line, highlight=False, markup=False)


def agreement_lines(found: Agreement) -> list[str]:
    """A line per pair of judges, and Krippendorff's alpha over all."""
    lines = []
    for pair in found.pairs:
        figures = f"agreement {_figure(pair.observed)}, kappa {_figure(pair.kappa)}, AC1 {_figure(pair.ac1)}"
        aware = f"AWARE by both {pair.both}, by the first alone {pair.left_only}, by the second alone {pair.right_only}"
        what = "judge leakage" if pair.leakage else "judges"
        lines.append(f"{what} {pair.left} and {pair.right} on {pair.texts} {pair.of}: {figures}; {aware}")
    alphas = ", ".join(f"{of} {_figure(alpha)}" for of, alpha in found.alpha.items())
    return [*lines, f"Krippendorff's alpha over {len(found.judges)} judges, headline '{found.headline}': {alphas}"]


def _show_failures(judge: JudgeTally) -> None:
    """One line with the cause, where judgements failed; nothing where none did."""
    failed = [f"{n} {word}" for n, word in ((judge.errors, "ERROR"), (judge.unparsed, "UNPARSED")) if n]
    if failed:
        line = f"{judge.classifier}: of {judge.asked} judgements {' and '.join(failed)}: {most_frequent(judge.causes)}"
        wide_console().print(line, highlight=False, markup=False)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _any_of_k(suite: SuiteTally, found: HeadlineTally, lane: Lane) -> str:
    tallied = found.lane(lane)
    return str(suite.lane_states.get(lane, "not read")) if tallied is None else interval(tallied.any_of_k.printed)


def interval(estimate: Estimate) -> str:
    """A share in per cent with its interval: "7 [2, 23]", or a one-sided bound: "0 (at most 5)".

    "-" without a value, no brackets without an interval.
    """
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return _percent(estimate.value)
    if estimate.one_sided:
        above = estimate.high == 1
        bound = f"at {'least' if above else 'most'} {_percent(estimate.low if above else estimate.high)}"
        return f"{_percent(estimate.value)} ({bound})"
    return f"{_percent(estimate.value)} [{_percent(estimate.low)}, {_percent(estimate.high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
