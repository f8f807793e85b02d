"""A tally as one tidy table: one row per number, with its interval, unit count, method, and why it is withheld.

Columns never depend on the tally. Nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ..stats.interval import Estimate
from .types import HeadlineTally, SuiteTally, Tally, TranscriptRate

COLUMNS: dict[str, pl.DataType] = {
    "suite": pl.String(),
    "arm": pl.String(),
    "headline": pl.String(),
    "lane": pl.String(),
    "measure": pl.String(),
    "group": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n": pl.Int64(),
    "method": pl.String(),
    "withheld": pl.String(),
}
"""Columns of the table and their dtypes."""

Cells = tuple[str, str, str, str, str, str, float | None, float | None, float | None, int | None, str, str]


def tidy(tally: Tally) -> pl.DataFrame:
    """Every rate, comparison and count of a tally."""
    rows = [row for suite in tally.suites for row in _suite(tally, suite)]
    return pl.DataFrame([*rows, *_setting(tally), *_where(tally)], schema=COLUMNS, orient="row")


def _suite(tally: Tally, suite: SuiteTally) -> Iterator[Cells]:
    for under in suite.headlines:
        yield from _headline(suite, under)
    for counts in suite.denominators:
        at = (suite.suite, suite.arm, tally.primary.value, counts.of)
        for outcome, n in counts.counts.items():
            yield (*at, "outcomes", outcome.value, float(n), None, None, counts.planned, "count", "")
        yield (*at, "outcomes", "not read", float(counts.missing), None, None, counts.planned, "count", "")


def _headline(suite: SuiteTally, under: HeadlineTally) -> Iterator[Cells]:
    at = (suite.suite, suite.arm, under.headline.value)
    if not suite.pairs_withheld:
        yield from _rate((*at, "said"), "transcripts", under.verbalized)
        yield _row((*at, "measured"), "measured and not said", "", under.unverbalized)
        yield _row((*at, "measured"), "measured, given not said", "", under.n_given_not_v)
    yield from _rate((*at, "recorded words"), "transcripts", under.recorded)
    for lane in under.lanes:
        where = (*at, lane.lane)
        yield from _rate(where, "transcripts", lane.any_of_k)
        yield _row(where, "places", "", lane.fraction)
        yield _row(where, "explanations", "", lane.explanation_rate)
        for point in lane.k_curve:
            value = (point.rate, None, None, point.transcripts, "exact, without replacement", "")
            yield (*where, "any of k", str(point.k), *value)
    for control in under.controls:
        yield _row((*at, control.lane), "places, measured minus control", "", control.fraction_difference)
        yield _row((*at, control.lane), "transcripts after Abbott", "", control.abbott)
    if under.versus_deployment is not None:
        where = (*at, "measured")
        yield _row(where, "AUROC against deployment", "", under.versus_deployment.auroc)
        yield _row(where, "places, suite minus deployment", "", under.versus_deployment.fraction_difference)
    for group in under.groups:
        for name, estimate in (
            ("transcripts", group.measured),
            ("said", group.verbalized),
            ("measured, given not said", group.n_given_not_v),
        ):
            yield _row((*at, "measured"), name, f"{group.kind}: {group.group}", estimate)


def _setting(tally: Tally) -> Iterator[Cells]:
    for row in tally.setting.rows if tally.setting else ():
        at = (row.suite, row.arm, "", "setting")
        group = "" if row.variant is None else f"variant: {row.variant}"
        yield _row(at, "read aware (setting)", group, row.aware)
        yield _row(at, "mean log-odds of a transcript", group, row.log_odds)


def _where(tally: Tally) -> Iterator[Cells]:
    if tally.where is None:
        return
    for kind in ("depth", "channel", "turn", "score"):
        for cut in getattr(tally.where, kind):
            at = ("", cut.arm, tally.where.headline.value, "measured")
            yield _row(at, "places", f"{kind}: {cut.group}", cut.rate)


def _rate(at: tuple[str, str, str, str], measure: str, rate: TranscriptRate) -> Iterator[Cells]:
    if rate.bounds.total:
        yield _row(at, measure, "", rate.rate)
        yield _row(at, f"{measure}, by family", "", rate.by_family)


def _row(at: tuple[str, str, str, str], measure: str, group: str, e: Estimate) -> Cells:
    return (*at, measure, group, e.value, e.low, e.high, e.n, e.method, e.withheld or "")
