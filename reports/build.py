"""Builds the report: one tally in, one self-contained HTML file out.

The page makes no request and has no time stamp, so the same input gives the same bytes. Its one script, allowed by its
hash, opens transcripts; all else reads without it. Text from transcripts and models is autoescaped or stands in escaped
JSON, and reaches the page as text nodes. It computes no statistic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic import BaseModel

from nla_eval.judgement import Outcome
from nla_eval.readings import DISPLAYED, Lane
from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.types import ShownReading, Tally
from nla_eval.transcript import Author

from . import _format as fmt
from ._beside import (
    WITHIN,
    Table,
    gain_sentences,
    gain_table,
    sensitivity_sentences,
    sensitivity_table,
    within_table,
)
from ._card import summarise
from ._charts import charts
from ._files import beside, write
from ._head import head
from ._islands import islands, transcript_keys
from ._page import TEMPLATES, environment, scripts
from ._prose import MEANING, browse_rule, finding, limits, uneven, withheld_headline
from ._status import MARKS
from ._variants import NAMES, clear, conclusion, silent


@REPORTS.register("html")
def build_report(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the report of one tally.

    Args:
        tally: Every number it prints.
        provenance: Target, pack, layer, policy, seed, rubric, versions, command; nested values are flattened.
        pack_card: The pack's `card.json`, or None if there is none.
        out: The file to write (`.html`), or a folder for a file report.html.

    Returns:
        The file written.

    Raises:
        InputError: The file cannot be written.
    """
    page = render(tally, provenance, pack_card)
    return write(beside(out, ".html") if out.suffix not in (".html", ".htm") else out, page.encode("utf-8"))


def render(
    tally: Tally,
    provenance: Mapping[str, Any] | BaseModel,
    pack_card: Mapping[str, Any] | None,
    *,
    figures: bool = True,
) -> str:
    """The page as HTML. Without `figures`, which take most of its time, their data tables stand alone."""
    card = summarise(pack_card)
    drawn = charts(tally)
    browser = _browser(tally)
    script, script_hash = scripts("copy.js", *(["browse.js"] if browser is not None else []))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            tally=tally,
            card=card,
            head=head(tally, card, fmt.as_mapping(provenance), uneven(tally)),
            said=finding(tally, card),
            marks=MARKS,
            limits=limits(tally, card),
            withheld=withheld_headline(tally),
            meaning=MEANING,
            outcomes=list(Outcome),
            authors=list(Author),
            measures=NAMES,
            silent=silent,
            controls={lane: display for lane, display in DISPLAYED.items() if lane != Lane.MEASURED},
            clear=clear,
            conclusion=conclusion,
            table=defaultdict(count(1).__next__),  # numbers tables by first mention, so that no number is skipped
            grouped=any(suite.under(tally.primary).groups for suite in tally.suites),
            provenance=fmt.flatten(provenance),
            css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            charts=drawn,
            within=within_table(tally.setting),
            within_note=WITHIN,
            gains=_gains(tally),
            varied=_varied(tally),
            svg=(lambda name, narrow: Markup(drawn[name].inline(narrow))) if figures else None,
            browse=browser,
            link=_links(tally),
            script=Markup(script),
            script_hash=script_hash,
            marked=fmt.marked,
            token_in_context=fmt.token_in_context,
        )
    )


@dataclass(frozen=True)
class _Browser:
    """What the page holds for its script."""

    index: Markup
    islands: list[tuple[str, Markup]]
    rule: str


@dataclass(frozen=True)
class _Gains:
    """The section on other readers."""

    sentences: list[str]
    table: Table


def _gains(tally: Tally) -> _Gains | None:
    return None if tally.readers is None else _Gains(gain_sentences(tally.readers), gain_table(tally.readers))


@dataclass(frozen=True)
class _Varied:
    """The section on other choices."""

    sentences: list[str]
    tables: list[tuple[str, Table]]


def _varied(tally: Tally) -> _Varied | None:
    found = tally.sensitivity
    if found is None:
        return None
    return _Varied(
        list(sensitivity_sentences(found)), [(suite.suite, sensitivity_table(suite)) for suite in found.suites]
    )


def _browser(tally: Tally) -> _Browser | None:
    if tally.browse is None or not tally.browse.transcripts:
        return None
    index, parts = islands(tally.browse)
    return _Browser(Markup(index), [(key, Markup(json)) for key, json in parts], browse_rule(tally.browse))


def _links(tally: Tally) -> Callable[[ShownReading], str]:
    """The permalink of a shown reading; empty if its transcript or position is not in the browser."""
    links: dict[tuple[str, str, str, int], str] = {}
    if tally.browse is not None:
        kept = tally.browse.transcripts
        for key, t in zip(transcript_keys(kept), kept, strict=True):
            links |= {(t.arm, t.suite, t.id, p.position): f"#t={key}&p={p.position}" for p in t.positions}
    return lambda r: links.get((r.arm, r.suite, r.transcript_id, r.position), "")
