"""Prints a tally as one terminal table: verbalized (V), NLA-measured (N) and the donor lane."""

from __future__ import annotations

from rich.table import Table

from ..readings import DISPLAYED, Lane
from ..stats import Estimate
from ..tally.types import HeadlineTally, Tally
from .console import wide_console


def show(tally: Tally) -> None:
    """Print one row per suite under the primary headline, and a key to the columns."""
    headline = tally.primary
    table = Table(box=None, pad_edge=False)
    lanes = [f"N {display.heading}" for display in DISPLAYED.values()]
    for name in ("suite", "arm", "n", "V said", "recorded words", *lanes, "N and not V"):
        table.add_column(name, justify="left" if name in ("suite", "arm") else "right", no_wrap=True)
    for suite in tally.suites:
        found = suite.under(headline)
        rates = [_any_of_k(found, lane) for lane in DISPLAYED]
        words = [interval(found.verbalized.rate), interval(found.recorded.rate)]
        table.add_row(suite.suite, suite.arm, str(suite.transcripts), *words, *rates, interval(found.unverbalized))
    console = wide_console()
    console.print(table, highlight=False)
    console.print(
        f"Per cent of n transcripts with Wilson's 95 % interval; headline '{headline.value}', rubric {tally.rubric}. "
        "V: the target says so in a turn that it wrote. Recorded words: a turn that it did not write says so. "
        f"N: the explanation of at least one position says so. {_controls()}",
        highlight=False,
    )
    for suite in tally.suites:
        if suite.pairs_withheld:
            console.print(f"{suite.suite}: {suite.pairs_withheld}.", highlight=False)
    certificate = tally.certification(headline)
    if certificate is not None and not certificate.certified:
        console.print(
            f"Specificity is not certified: {certificate.flagged} of {certificate.transcripts} deployment transcripts "
            f"were flagged, so the true rate may be up to {_percent(certificate.bound)} %. It takes "
            f"{certificate.needed} without a flag to certify. Until then, no any-of-k rate is a finding.",
            highlight=False,
        )


def _controls() -> str:
    return " ".join(display.note for display in DISPLAYED.values() if display.note)


def _any_of_k(found: HeadlineTally, lane: Lane) -> str:
    tallied = found.lane(lane)
    return "not read" if tallied is None else interval(tallied.any_of_k.rate)


def interval(estimate: Estimate) -> str:
    """A share in per cent with its interval: "7 [2, 23]". "-" without a value, no brackets without an interval."""
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return _percent(estimate.value)
    return f"{_percent(estimate.value)} [{_percent(estimate.low)}, {_percent(estimate.high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
