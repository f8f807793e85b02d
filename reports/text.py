"""The report as text: Markdown for a page or a pull request, and plain text for a terminal or a program.

Both have the first screen, the rates, three examples, and what the report does not show. Hostile text is made visible,
and in Markdown its markup is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from pydantic import BaseModel

from nla_eval.readings import DISPLAYED, Lane
from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.types import ShownReading, Tally
from nla_eval.transcript import Arm

from ._beside import (
    WITHIN,
    Table,
    gain_sentences,
    gain_table,
    plain,
    sensitivity_sentences,
    sensitivity_table,
    within_table,
)
from ._card import summarise
from ._files import beside, write
from ._format import MISSING, as_mapping, p_value, plural, points, span, visible, with_interval, words
from ._head import Head, head
from ._prose import MEANING, finding, uneven, withheld_headline

_WIDTH = 100
_BEFORE = 80
"""Characters shown before a read token."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


@REPORTS.register("md")
def build_markdown(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the report as GitHub-flavoured Markdown."""
    return write(beside(out, ".md"), markdown(tally, provenance, pack_card).encode("utf-8"))


@REPORTS.register("text")
def build_text(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the report as plain text of at most 100 columns, apart from tables."""
    return write(beside(out, ".txt"), text(tally, provenance, pack_card).encode("utf-8"))


def markdown(tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None) -> str:
    """The report as Markdown."""
    top, cannot = _parts(tally, provenance, pack_card)
    lines = [
        f"# {escaped(top.title)}",
        "",
        f"**{top.mark} {escaped(_status(top))}**{escaped(f' {top.scope}' if top.scope else '')}",
        "",
        *([escaped(top.control), ""] if top.control else []),
        escaped(" ".join(top.finding)),
        "",
    ]
    if top.cards:
        rows = [[c.name, c.value, c.interval, c.note] for c in top.cards]
        heads = [top.lead and f"In {top.lead}", "value", "95 % interval", ""]
        lines += [*markdown_table((heads, rows), bold=True), ""]
    for heading, sentences in (("Why not more", top.why_not_more), ("This report does not show", cannot)):
        if sentences:
            lines += [f"## {heading}", "", *(f"- {escaped(sentence)}" for sentence in sentences), ""]
    lines += ["## Rates", "", *markdown_table(_rates(tally)), ""]
    lines += [*(f"- {escaped(sentence)}" for sentence in how_to_read(tally)), ""]
    compared = _compared(tally)
    if compared[1]:
        lines += ["## Against controls", "", *markdown_table(compared), "", escaped(_OF_COMPARED), ""]
    for heading, sentences, table in _beside(tally):
        lines += [f"## {heading}", "", *(f"- {escaped(sentence)}" for sentence in sentences), ""]
        lines += [*markdown_table(table), ""]
    lines += ["## Does the instrument see what is there?", ""]
    lines += [*(f"- **{escaped(c.question)}** {escaped(c.answer)}" for c in top.checks), ""]
    lines += [line for c in top.checks if c.table for line in [*markdown_table(c.table), ""]]
    lines += ["## Examples", ""]
    for example in top.examples:
        quoted = visible(example.reading.explanation).splitlines() or [""]
        lines += [
            f"**{escaped(example.heading)}.** {escaped(_place(example.reading))}",
            "",
            escaped(_token(example.reading)),
            "",
            *(f"> {escaped(q)}" for q in quoted),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def text(tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None) -> str:
    """The report as plain text."""
    top, cannot = _parts(tally, provenance, pack_card)
    lines = [visible(top.title), f"[{_status(top).upper()}]{f' {top.scope}' if top.scope else ''}", ""]
    lines += [*wrapped(top.control), ""] if top.control else []
    lines += wrapped(" ".join(top.finding))
    lines += ["", *([f"In {top.lead}:"] if top.lead else [])] if top.cards else []
    lines += [
        f"{c.name + ':':9}{c.value}{'  ' + c.interval if c.interval else ''}  {visible(c.note)}" for c in top.cards
    ]
    for heading, sentences in (("Why not more", top.why_not_more), ("This report does not show", cannot)):
        if sentences:
            lines += ["", heading, *(line for s in sentences for line in wrapped(s, "- "))]
    lines += ["", "Rates", *columns(_rates(tally))]
    lines += [line for sentence in how_to_read(tally) for line in wrapped(sentence, "- ")]
    compared = _compared(tally)
    if compared[1]:
        lines += ["", "Against controls", *columns(compared), *wrapped(_OF_COMPARED)]
    for heading, sentences, table in _beside(tally):
        lines += ["", heading, *(line for sentence in sentences for line in wrapped(sentence, "- ")), *columns(table)]
    lines += ["", "The instrument"]
    for check in top.checks:
        lines += [*wrapped(f"{check.question} {check.answer}", "- "), *(columns(check.table) if check.table else [])]
    for example in top.examples:
        lines += [
            "",
            f"{example.heading}.",
            *wrapped(_place(example.reading), "  "),
            *wrapped(_token(example.reading), "  "),
        ]
        lines += wrapped(f"Explanation: {example.reading.explanation}", "  ")
    return "\n".join(visible(line) for line in lines).rstrip() + "\n"


def _parts(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None
) -> tuple[Head, list[str]]:
    card = summarise(pack_card)
    cannot = [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in finding(tally, card).cannot]
    return head(tally, card, as_mapping(provenance), uneven(tally)), cannot


def _status(top: Head) -> str:
    return f"{top.status[:1].upper()}{top.status[1:]}"


def how_to_read(tally: Tally) -> Iterator[str]:
    """The words of the table, how its intervals are made, and what may not be a headline."""
    yield (
        "An NLA (Natural Language Autoencoder) puts a model's activations into words. Each place read has an "
        f"explanation; the judge decides what it says. Headline {tally.primary}: {MEANING[tally.primary]}."
    )
    yield (
        "Said (V): transcripts in which the model itself says so. Places: mean share of a transcript's judged places "
        "whose explanation says so. Any of k: transcripts with one such place or more (N). Donor lane: the same "
        "places with activations of ordinary chats put in. Compare rows and lanes; no single rate says how aware a "
        "model is."
    )
    yield (
        "Intervals are at 95 %: of transcripts over prompt families where a family has several, else Wilson's; of "
        "places over families; in the donor lane also over donors. Fewer than 8 families have none."
    )
    withheld = withheld_headline(tally)
    if withheld:
        yield f"Any of k is no headline here: {withheld}"
    yield (
        f"Pack {words(tally.packs)}; rubric {tally.rubric}; judged by {words(tally.classifiers)}; positions "
        f"{words(tally.policies)}; {plural(tally.draws, 'draw')} each."
    )


def _beside(tally: Tally) -> Iterator[tuple[str, list[str], Table]]:
    """The setting column within items, other readers and other choices, where the tally has them."""
    if (table := within_table(tally.setting)) is not None:
        yield "Read aware (setting), within items", [WITHIN], table
    if tally.readers is not None:
        yield "Other readers of the same transcripts", gain_sentences(tally.readers), gain_table(tally.readers)
    if tally.sensitivity is not None:
        heads = ["Suite", *sensitivity_table(tally.sensitivity.suites[0])[0]] if tally.sensitivity.suites else []
        rows = [[s.suite, *row] for s in tally.sensitivity.suites for row in sensitivity_table(s)[1]]
        yield "The headline under other choices", list(sensitivity_sentences(tally.sensitivity)), (heads, rows)


def _rates(tally: Tally) -> Table:
    heads = [
        "suite",
        "arm",
        "n",
        "said (V)",
        *(f"places, {d.heading}" for d in DISPLAYED.values()),
        "k",
        "any of k",
        "read aware (setting)",
    ]
    rows = []
    for suite in tally.suites:
        under = suite.under(tally.primary)
        lanes = {name: under.lane(name) for name in DISPLAYED}
        measured = lanes[Lane.MEASURED]
        setting = tally.setting.row(suite.suite, suite.arm) if tally.setting else None
        rows.append(
            [
                visible(suite.suite),
                suite.arm,
                str(suite.transcripts),
                "not measured" if suite.pairs_withheld else with_interval(under.verbalized.printed),
                *(
                    str(suite.lane_states.get(name, "not read")) if lane is None else with_interval(lane.fraction)
                    for name, lane in lanes.items()
                ),
                MISSING if measured is None else span(*measured.k_planned),
                "not read" if measured is None else with_interval(measured.any_of_k.printed),
                "not read" if setting is None else with_interval(setting.aware),
            ]
        )
    return heads, rows


_OF_COMPARED = (
    "Differences are in percentage points of places, with 95 % intervals over families. AUROC: the chance that a "
    "transcript of the suite has a larger share of such places than an ordinary chat, at a number of places that both "
    "supply; 0.5 is a coin flip. p: families exchanged between the arms, of any of k; Holm's correction over suites."
)


def _compared(tally: Tally) -> Table:
    """Every suite against its controls: the numbers that the status follows."""
    heads = ["suite", "measured − donor lane", "suite − ordinary chats", "AUROC", "at k", "p", "Holm p"]
    rows = []
    for suite in tally.suites:
        under = suite.under(tally.primary)
        donor = under.control(Lane.DONOR)
        versus = under.versus_deployment
        if suite.arm == Arm.DEPLOYMENT or (donor is None and versus is None):
            continue
        test = versus.permutation if versus else None
        rows.append(
            [
                visible(suite.suite),
                "not read" if donor is None else points(donor.fraction_difference),
                "not read" if versus is None else points(versus.fraction_difference),
                MISSING if versus is None else plain(versus.auroc),
                MISSING if versus is None else str(versus.k),
                p_value(test.p_value if test else None),
                p_value(versus.holm_p if versus else None),
            ]
        )
    return heads, rows


def _place(reading: ShownReading) -> str:
    return visible(
        f"{reading.suite} ({reading.arm}), {reading.transcript_id}, position {reading.position}, {reading.lane} lane"
    )


def _token(reading: ShownReading) -> str:
    """The token whose activation was read, behind the end of the text before it."""
    before = reading.context.removesuffix(reading.token)
    shown = f"…{before[-_BEFORE:]}" if len(before) > _BEFORE else before
    return f"Read after “{' '.join(shown.split())}”: the token “{reading.token.strip() or 'blank'}”"


def escaped(said: str) -> str:
    """Text as part of a line of Markdown."""
    return _MARKUP.sub(r"\\\1", visible(said)).replace("\n", " ")


def markdown_table(table: Table, *, bold: bool = False) -> Iterator[str]:
    """A table in Markdown, its first column bold if asked. Every cell is text."""
    heads, rows = table
    yield f"| {' | '.join(map(escaped, heads))} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        first, *rest = map(escaped, row)
        yield f"| {' | '.join([f'**{first}**' if bold else first, *rest])} |"


def columns(table: Table) -> Iterator[str]:
    """A table in columns of plain text."""
    heads, rows = table
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def wrapped(said: str, lead: str = "") -> list[str]:
    """Lines of at most 100 columns, the first one behind `lead`."""
    flat = " ".join(visible(said).split())
    return fill(flat, _WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)).splitlines()
