"""A comparison of runs as one HTML page, Markdown, plain text or JSON, all from one `Diff`."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from nla_eval.tally.published import published
from nla_eval.tally.report_registry import DIFFS
from nla_eval.tally.types_diff import Diff, Measure

from . import _moved
from ._files import beside, write
from ._format import visible
from ._page import TEMPLATES, environment, scripts
from .text import columns, escaped, markdown_table, wrapped


@DIFFS.register("html")
def build_html(diff: Diff, out: Path) -> Path:
    """Write the page."""
    place = out if out.suffix in (".html", ".htm") else beside(out, ".html")
    return write(place, render(diff).encode("utf-8"))


@DIFFS.register("json")
def build_json(diff: Diff, out: Path) -> Path:
    """Write the comparison as JSON; its schema is docs/diff.schema.json."""
    return write(beside(out, ".json"), published(diff).encode("utf-8", "backslashreplace"))


@DIFFS.register("md")
def build_markdown(diff: Diff, out: Path) -> Path:
    """Write the comparison as GitHub-flavoured Markdown."""
    return write(beside(out, ".md"), markdown(diff).encode("utf-8"))


@DIFFS.register("text")
def build_text(diff: Diff, out: Path) -> Path:
    """Write the comparison as plain text."""
    return write(beside(out, ".txt"), text(diff).encode("utf-8"))


def render(diff: Diff) -> str:
    """The page as HTML."""
    drawn = _moved.figure(diff)
    script, script_hash = scripts("copy.js")
    return (
        environment()
        .get_template("diff.html.j2")
        .render(
            diff=diff,
            top=_moved.top(diff),
            key=_moved.key_table(diff),
            pairs=list(dict.fromkeys((row.first, row.second) for row in diff.moved)),
            moved=_moved.moved_table,
            aurocs=_moved.auroc_table,
            auroc_limits=_moved.auroc_limits(diff),
            facts=_moved.facts_table(diff),
            alike=_moved.alike_table(diff),
            pairing=_moved.pairing_table(diff),
            alone=_moved.alone(diff),
            meaning={measure.value: _moved.MEANING[measure] for measure in Measure},
            charts={drawn.name: drawn},
            svg=lambda name, narrow: Markup(drawn.inline(narrow)),
            css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=script_hash,
        )
    )


def markdown(diff: Diff) -> str:
    """The comparison as Markdown."""
    top = _moved.top(diff)
    lines = [f"# {escaped(top.title)}", "", f"**{escaped(top.status)}**", "", escaped(" ".join(top.finding)), ""]
    for heading, table in _tables(diff):
        lines += [f"## {heading}", "", *markdown_table(table), ""]
    for heading, sentences in _lists(diff):
        lines += [f"## {heading}", "", *(f"- {escaped(sentence)}" for sentence in sentences), ""]
    return "\n".join(lines).rstrip() + "\n"


def text(diff: Diff) -> str:
    """The comparison as plain text."""
    top = _moved.top(diff)
    lines = [top.title, f"[{top.status.upper()}]", "", *wrapped(" ".join(top.finding))]
    for heading, table in _tables(diff):
        lines += ["", heading, *columns(table)]
    for heading, sentences in _lists(diff):
        lines += ["", heading, *(line for sentence in sentences for line in wrapped(sentence, "- "))]
    return "\n".join(visible(line) for line in lines).rstrip() + "\n"


def _tables(diff: Diff) -> list[tuple[str, _moved.Table]]:
    pairs = dict.fromkeys((row.first, row.second) for row in diff.moved)
    found = [(f"From {first} to {second}", _moved.moved_table(diff, first, second)) for first, second in pairs]
    areas = [(f"AUROC, from {first} to {second}", _moved.auroc_table(diff, first, second)) for first, second in pairs]
    found += [(heading, table) for heading, table in areas if table[1]]
    found += [("The runs", _moved.key_table(diff)), ("What else differs", _moved.facts_table(diff))]
    return [*found, ("How transcripts were matched", _moved.pairing_table(diff))]


def _lists(diff: Diff) -> list[tuple[str, list[str]]]:
    limits = [*diff.notes, *_moved.auroc_limits(diff)]
    found = [("What limits this comparison", limits), ("Not in every run", _moved.alone(diff))]
    return [(heading, sentences) for heading, sentences in found if sentences]
