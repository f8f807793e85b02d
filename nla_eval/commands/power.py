"""`nla-eval power`: what a run can tell from zero and from its false positives, and how large it would have to be.

From stores and logs it counts what was read; without any it takes the numbers given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rich.table import Table

from ..errors import InputError
from ..judgement import Headline
from ..tally.power import Asked, PowerTable, RunSize, SuitePower, power_table, sizes_of
from .console import wide_console
from .report import ReportRequest, judged_inputs

_WHOLE = ("families", "per_family", "k", "draws")


@dataclass(frozen=True)
class PowerRequest:
    """What the user asked for."""

    inputs: tuple[str, ...] = ()
    given: Mapping[str, float] = field(default_factory=dict)
    """Fields of `RunSize` by name; they replace what the inputs show."""
    asked: Asked = field(default_factory=Asked)
    classifier: str | None = None
    headline: str = Headline.PAPER.value


def run(request: PowerRequest, *, as_json: bool) -> None:
    """Print the table, or one JSON object."""
    table = table_of(request)
    if as_json:
        print(table.model_dump_json(indent=2))
    else:
        show(table)


def table_of(request: PowerRequest) -> PowerTable:
    """The table.

    Raises:
        InputError: A number is out of range, neither inputs nor --families are given, or an input cannot be used.
    """
    given = _checked(request.given)
    _check_asked(request.asked)
    if not request.inputs:
        if "families" not in given:
            raise InputError("power needs stores or logs, or the number of prompt families: --families 50")
        return power_table([RunSize(**given)], request.asked)
    if request.headline not in list(Headline):
        raise InputError(f"--headline '{request.headline}'; expected one of {', '.join(Headline)}")
    headline = Headline(request.headline)
    assumed = RunSize(families=1, **{name: value for name, value in given.items() if name != "families"})
    sizes = []
    for each in judged_inputs(ReportRequest(request.inputs, "", request.classifier)):
        for size in sizes_of(each.frames, each.rubric.headlines, headline, assumed):
            kept = tuple(name for name in size.measured if name not in given)
            sizes.append(replace(size, **given, measured=kept))
    return power_table(sizes, request.asked)


def _checked(given: Mapping[str, float]) -> dict[str, Any]:
    """Values by field, whole numbers as such. Raises InputError naming the option."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if name in _WHOLE:
            if value < 1:
                raise InputError(f"{option} {value:g}; expected a whole number of at least 1")
            found[name] = int(value)
        elif not (math.isfinite(value) and 0 <= value <= 1):
            raise InputError(f"{option} {value:g}; expected a number from 0 to 1")
        else:
            found[name] = value
    return found


def _check_asked(asked: Asked) -> None:
    for option, values in (("--rate", asked.rates), ("--power", [asked.power]), ("--level", [asked.level])):
        for value in values:
            if not 0 < value < 1:
                raise InputError(f"{option} {value:g}; expected a number between 0 and 1")


def show(table: PowerTable) -> None:
    """Print what each suite can tell, then the runs that would do."""
    console = wide_console()
    told = Table(box=None, pad_edge=False)
    for name in (
        *("suite", "arm", "families", "transcripts", "worth", "k", "draws", "false positives", "make any-of-k"),
        *("told from 0", "per position", "told from those", "per position"),
    ):
        told.add_column(name, justify="left" if name in ("suite", "arm") else "right", no_wrap=True)
    for suite in table.suites:
        told.add_row(*_told_cells(suite))
    console.print(told, highlight=False)
    console.print(
        f"Smallest rates of transcripts (any-of-k) found with {table.power:.0%} power by a one-sided exact test at "
        f"{1 - table.level:.0%}, in per cent. 'worth': independent transcripts. False positives per explanation are "
        "taken as known.",
        highlight=False,
    )
    for suite in table.suites:
        console.print(_assumptions(suite), highlight=False)
        console.print(_needed_table(suite), highlight=False)
        for certificate in suite.certificate:
            console.print(
                f"To certify fewer than {certificate.limit:.0%} false flags: {certificate.families} deployment "
                "families, none flagged.",
                highlight=False,
            )


def _told_cells(suite: SuitePower) -> list[str]:
    counts = [suite.families, suite.transcripts, suite.effective, suite.k, suite.draws]
    rates = [suite.false_positive_rate, suite.baseline]
    for told in (suite.from_zero, suite.from_false_positives):
        rates += [told.rate, told.position_rate]  # type: ignore[list-item]
    return [suite.suite, suite.arm or "-", *map(str, counts), *map(_percent, rates)]


def _assumptions(suite: SuitePower) -> str:
    names = {
        "family_correlation": "two transcripts of a family",
        "position_correlation": "two positions of a transcript",
        "draw_correlation": "two draws of a position",
    }
    parts = [
        f"{what} {getattr(suite, name):.2f} ({'measured' if name in suite.measured else 'given or assumed'})"
        for name, what in names.items()
    ]
    return f"\n{suite.suite}: correlation of {', '.join(parts)}. Runs of this kind that would do:"


def _needed_table(suite: SuitePower) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("rate", "from 0: transcripts", "families", "from false positives: transcripts", "families"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in suite.needed:
        cells = (
            *(row.transcripts_from_zero, row.families_from_zero),
            *(row.transcripts_from_false_positives, row.families_from_false_positives),
        )
        table.add_row(f"{row.rate:.1%}", *("-" if cell is None else f"{cell:,}" for cell in cells))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2g}"
