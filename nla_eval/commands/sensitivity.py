"""`nla-eval sensitivity`: the headline of logs and stores under other choices, as a table in Markdown.

Inputs that were read in different ways (policy, temperature, layer ...) are judged apart; the first one is the
headline's. Needs no weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.log import read_eval_log, read_eval_log_samples

from ..errors import InputError
from ..files import write_text
from ..judgement import Headline
from ..judging.classify import rubric_ref
from ..pipeline.presets import DEFAULT_PRESET, PRESETS
from ..printable import one_line
from ..store.store import ReadingStore
from ..tally.sensitivity import FACTS, ReadSet, sensitivity
from ..tally.types_sensitivity import Reference, Sensitivity, SensitivityRow, SuiteSensitivity
from .report import ReportRequest, judged_inputs
from .summary import interval

_NAMES = {"positions": "policy"}
"""Names of facts in stores and logs, where they differ from those of `FACTS`."""


@dataclass(frozen=True)
class SensitivityRequest:
    """What the user asked for."""

    inputs: tuple[str, ...]
    classifiers: tuple[str, ...] = ()
    """Judge all again with each of these; none: the inputs' own judgements."""
    rubric: str | None = None
    headline: str = PRESETS[DEFAULT_PRESET].headline
    out: Path | None = None


def run(request: SensitivityRequest, *, as_json: bool) -> None:
    """Print the page, or write it to a file."""
    found = sensitivity_of(request)
    text = found.model_dump_json(indent=2) if as_json else markdown(found)
    if request.out is None:
        print(text)
    else:
        write_text(text + "\n", request.out)
        flips = sum(len(suite.flips) for suite in found.suites)
        print(f"{request.out}: {flips} of {sum(len(suite.rows) for suite in found.suites)} rows flip the conclusion")


def sensitivity_of(request: SensitivityRequest) -> Sensitivity:
    """The page as a typed object, for reports.

    Raises:
        InputError: An input is no log and no store, or a name is unknown.
    """
    if request.headline not in list(Headline):
        raise InputError(f"--headline '{request.headline}'; expected one of {', '.join(Headline)}")
    sets = []
    for facts, inputs in _alike(request.inputs):
        for classifier in request.classifiers or (None,):
            for each in judged_inputs(ReportRequest(tuple(inputs), "", classifier, request.rubric)):
                judge = f"{each.classifier} under {rubric_ref(each.rubric)}"
                sets.append(ReadSet(each.frames, each.rubric.headlines, judge, facts))
    return sensitivity(sets, Headline(request.headline))


def _alike(inputs: Sequence[str]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Inputs that were read in one way, with the facts of that way; in the order of their first input."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name in inputs:
        for path in _logs_in(name):
            groups.setdefault(tuple(sorted(_facts(path).items())), []).append(path)
    for key, members in groups.items():
        yield dict(key), members


def _logs_in(name: str) -> list[str]:
    """A folder of logs as its logs; anything else as it is. What cannot be read is told by `gather`."""
    path = Path(name)
    if "://" in name or not path.is_dir() or (path / "store.json").is_file():
        return [name]
    return sorted(str(log) for log in path.rglob("*.eval")) or [name]


def _facts(name: str) -> dict[str, str]:
    """How an input was read, by the names of `FACTS`; empty where nothing says."""
    path = Path(name)
    try:
        raw = _of_log(name) if path.is_file() else _of_store(name)
    except (OSError, ValueError, KeyError):
        raw = {}
    named = {_NAMES.get(key, key): value for key, value in raw.items()}
    return {key: _word(named[key]) for key in FACTS if named.get(key) not in (None, "")}


def _of_store(name: str) -> dict[str, Any]:
    store = ReadingStore.find(name)
    return store.identity.model_dump() if store else {}


def _of_log(name: str) -> dict[str, Any]:
    """Facts of the instrument, which each sample keeps, over the options of the task."""
    options = (read_eval_log(name, header_only=True).eval.metadata or {}).get("reading") or {}
    samples = read_eval_log_samples(name, all_samples_required=False)
    facts: dict[str, Any] = next((sample.metadata["nla"] for sample in samples if sample.metadata.get("nla")), {})
    return {**options, **facts}


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def markdown(found: Sensitivity) -> str:
    """The page as Markdown: a table per suite, then what no row shows."""
    read = ", ".join(f"{name} {value}" for name, value in found.base.items())
    parts = [
        "# Sensitivity of the headline",
        f"Any-of-k in per cent of transcripts, headline '{found.headline.value}', {_cell(found.judge)}. Read with: "
        f"{_cell(read)}. A row changes one choice and keeps the rest; k is what both sides can supply. In brackets: "
        "95 % interval over prompt families.",
        *(_suite(suite) for suite in found.suites),
    ]
    lines = [f"- Not varied here: {line}." for line in found.not_varied]
    lines += [f"- Not included: {line}." for line in found.not_included]
    return "\n\n".join([*parts, "\n".join(lines)])


def _suite(suite: SuiteSensitivity) -> str:
    head = f"## {_cell(suite.suite)} ({suite.arm} arm) against: {suite.against.value}"
    flips = suite.flips
    if suite.against is Reference.NONE:
        said = "Nothing to compare with, so no conclusion can flip."
    elif flips:
        said = f"The conclusion flips in {len(flips)} of {len(suite.rows)} rows: {_settings(flips)}."
    else:
        said = f"The conclusion stays in all {len(suite.rows)} rows."
    table = [
        "| choice | setting | k | draws | n | rate | reference | difference | conclusion | flips |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|---|",
        *(_row(row) for row in (suite.base, *suite.rows)),
    ]
    return "\n\n".join([head, said, "\n".join(table)])


def _settings(rows: Sequence[SensitivityRow]) -> str:
    return "; ".join(_cell(row.setting) for row in rows)


def _row(row: SensitivityRow) -> str:
    cells = (
        *(row.axis.value, _cell(row.setting), str(row.k or "-"), str(row.draws), str(row.transcripts)),
        *(interval(row.rate), interval(row.reference), interval(row.difference)),
        *(row.conclusion.value, "**flips**" if row.flips else ""),
    )
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    """Text of an input as part of a Markdown line: one line, nothing that Markdown reads."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in one_line(text))
