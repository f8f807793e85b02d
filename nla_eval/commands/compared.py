"""The command `nla-eval report`, and runs compared: by `--diff`, or beside reports of inputs that cannot be pooled.

In: tallies with what they were made of. Out: one file per format. The comparison itself is `tally.diff`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._rooms import load_room
from ..errors import InputError
from ..pipeline.presets import PRESETS, preset_lines
from ..printable import one_line, plural
from ..tally.diff import diff
from ..tally.diff_sides import Side
from ..tally.headlines import Board
from ..tally.report_registry import DIFFS
from ..tally.types_diff import Diff
from ..tally.viewer import viewer_address
from .report import (
    ReportRequest,
    Tallied,
    check_place,
    formats_of,
    named_apart,
    names_of,
    places,
    several,
    tallied_apart,
    write_report,
)
from .summary import show, show_agreement

_OF_IDENTITY = ("policy", "preset", "draws", "seed", "temperature", "max_new_tokens", "window")
_LEFT_OUT = ("inputs", "notes", "identity", "command", "calibration.lines")
"""Facts that name this very report, or stand in the comparison elsewhere."""


def run_report(request: ReportRequest) -> None:
    """Write one report per judge and rubric, and a comparison if there are several; print where they are."""
    formats = formats_of(request.builder)
    request = _linkable(request, formats)
    check_place(Path(request.out))
    tallied = tallied_apart(request)
    counted = [each.tally for each in tallied]
    compared = write_comparison(tallied, Path(request.out), formats) if len(tallied) > 1 else []
    del tallied  # frames: a report needs the tally alone
    for note in counted[0].provenance["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if request.view_url and not any(t.sample for each in counted if each.browse for t in each.browse.transcripts):
        print("note: no transcript links to inspect view: none is from a log; give logs, not stores", file=sys.stderr)
    for place, each in zip(places(Path(request.out), counted), counted, strict=True):
        written = [write_report(each, place, name) for name in formats]
        followed = each.provenance["preset"]
        for line in preset_lines(PRESETS[followed["name"]], followed["deviations"]):
            print(line)
        show(each)
        for line in each.provenance.get("calibration", {}).get("lines", ()):
            print(line)
        size = [plural(each.provenance[name + "s"], name) for name in ("transcript", "reading")]
        judged_by = f"judged by {each.provenance['classifier']} under {each.provenance['rubric']}"
        print(f"{size[0]}, {size[1]}, {judged_by}: {', '.join(map(str, written))}")
    show_agreement(counted)
    if len(counted) > 1:
        print(several(counted, request.inputs))
    for line in compared:
        print(line)


def run_diff(request: ReportRequest) -> None:
    """Compare the two inputs and write one file per format.

    Raises:
        InputError: There are not two inputs; one of them holds several runs or judges; or the runs are not comparable.
    """
    formats = _formats(names_of(request.builder))
    if request.view_url:
        raise InputError("a comparison holds no transcripts that could link to inspect view; leave --view-url out")
    check_place(Path(request.out))
    if len(request.inputs) != 2:
        raise InputError(
            f"--diff compares two runs, each one log, store or folder of logs; got {len(request.inputs)}; "
            "give for example: nla-eval report before/ after/ --diff"
        )
    names = _distinct([Path(name.rstrip("/")).name for name in request.inputs], request.inputs)
    runs = [_one(replace(request, inputs=(given,)), name) for given, name in zip(request.inputs, names, strict=True)]
    primary = {run.options.primary for run in runs}
    if len(primary) > 1:
        told = " and ".join(
            f"{name} {run.tally.provenance['preset']['name']} (headline {run.options.primary})"
            for run, name in zip(runs, names, strict=True)
        )
        raise InputError(
            f"the runs follow presets with different headlines: {told}; name one for both with --preset "
            f"({', '.join(PRESETS)})"
        )
    found = diff([_side(run, name) for run, name in zip(runs, names, strict=True)], runs[0].options.how)
    for each in runs:
        for note in each.tally.provenance["notes"]:
            print(f"note: {note}", file=sys.stderr)
    for line in _told(found, [DIFFS.get(name)(found, Path(request.out)) for name in formats]):
        print(line)


def write_comparison(tallied: Sequence[Tallied], out: Path, formats: Sequence[str]) -> list[str]:
    """Write the page that compares tallies that cannot be pooled, in the formats that it has; what to print of it.

    It is left out, and said to be, where the tallies cannot be compared either.
    """
    load_room("reports")
    known = [name for name in formats if name in DIFFS]
    if not known:
        return []
    counted = [each.tally for each in tallied]
    names = [named_apart(one, counted) for one in counted]
    sides = [_side(each, name) for each, name in zip(tallied, names, strict=True)]
    try:
        found = diff(sides, tallied[0].options.how)
    except InputError as err:
        return [f"no comparison is written: {err}"]
    if "html" in formats:
        own = [place.name for place in places(out, counted)]
        runs = [run.model_copy(update={"report": name}) for run, name in zip(found.runs, own, strict=True)]
        found = found.model_copy(update={"runs": runs})
    return list(_told(found, [DIFFS.get(name)(found, out) for name in known]))


def _linkable(request: ReportRequest, formats: Sequence[str]) -> ReportRequest:
    """The request with a checked address of the viewer, before anything is read."""
    if not request.view_url:
        return request
    if "html" not in formats:
        raise InputError(f"--view-url links transcripts of the page, and {', '.join(formats)} hold none; add html")
    return replace(request, view_url=viewer_address(request.view_url))


def _formats(names: Sequence[str]) -> Sequence[str]:
    load_room("reports")
    for name in names:
        if name not in DIFFS:
            raise InputError(f"--diff cannot be written as '{name}'; expected --format {', '.join(DIFFS)}")
    return names


def _one(request: ReportRequest, name: str) -> Tallied:
    """The one tally of one input."""
    found = tallied_apart(request)
    if len(found) > 1:
        counted = [each.tally for each in found]
        several = "; ".join(named_apart(one, counted) for one in counted)
        raise InputError(
            f"'{one_line(name)}' holds several runs or judges ({several}); give one of them, "
            "or judge all alike with --classifier"
        )
    return found[0]


def _side(tallied: Tallied, name: str) -> Side:
    board = Board.of(tallied.of.found, tallied.options.primary, tallied.options)
    return Side(one_line(name), tallied.tally, board, _facts(tallied), tallied.gathered.scores)


def _facts(tallied: Tallied) -> dict[str, str]:
    """How a run was made: target, pack, preset, judge, versions, options; what its inputs say of each, once."""
    made, identity = tallied.tally.provenance, tallied.tally.identity
    found: dict[str, dict[str, None]] = {}
    for source in made.get("inputs", {}).values():
        for key, value in _rows("", source):
            found.setdefault(key, {})[value] = None
    facts = {key: "; ".join(values) for key, values in sorted(found.items())}
    facts["pack"] = str(made["pack"])
    facts |= {"classifier": str(made["classifier"]), "rubric": str(made["rubric"]), "preset": made["preset"]["name"]}
    if identity is not None:
        facts |= {n: str(v) for n in _OF_IDENTITY if (v := getattr(identity, n)) is not None}
        facts |= {"target hash": identity.target} if identity.target else {}
    return facts


def _rows(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Nested facts by dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _rows(f"{prefix}.{key}" if prefix else str(key), inner)
    elif value not in (None, "", [], ()) and prefix not in _LEFT_OUT:
        yield prefix, _word(value)


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _distinct(short: Sequence[str], whole: Sequence[str]) -> list[str]:
    return list(short) if len({*short}) == len(short) else list(whole)


def _told(found: Diff, written: Sequence[Path]) -> Iterator[str]:
    moved, aurocs = [row for row in found.moved if row.clear], [row for row in found.aurocs if row.clear]
    runs = "; ".join(f"{run.label} is {run.name}" for run in found.runs)
    counts = f"{len(moved)} of {len(found.moved)} rates moved"
    counts += f", {len(aurocs)} of {plural(len(found.aurocs), 'AUROC')}" if found.aurocs else ""
    yield f"{runs}: {counts}: {', '.join(map(str, written))}"
    for row in moved:
        value = 100 * (row.difference.value or 0.0)
        yield f"  {row.suite}, {row.measure.value}: {value:+.1f} points from {row.first} to {row.second}"
    for area in aurocs:
        value = area.difference.value or 0.0
        yield f"  {area.suite}, AUROC against {area.against.value}: {value:+.2f} from {area.first} to {area.second}"
    yield from (f"  {note}" for note in found.notes)
