"""`nla-eval pack card --measure`, `compare`, `judge-sheet` and `curve`: measure packs on held-out rows of a training
run or a source, compare two packs, and write sheets to be judged by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..measure.section import Section
from ..models.dtypes import checked_dtype, torch_dtype
from ..models.pack import Pack
from ..models.target import Target, load_target
from .console import wide_console
from .next_step import next_step
from .pack_cards import card_of, pack_of

if TYPE_CHECKING:
    from ..engines.hf import TransformersEngine
    from ..measure.compare import Comparison
    from ..measure.evaluate import Measured
    from ..measure.held_out import HeldOut

_HELD_OUT_BUCKET = 1
"""The tenth of the training source that runs hold out; used when a card does not say which."""


@dataclass(frozen=True)
class MeasureRequest:
    """Which pack to measure, and on which rows."""

    pack: str | None
    target: str
    dtype: str = "auto"
    run: str | None = None
    """Folder of the training run whose held-out rows are used."""
    source: str | None = None
    """A file or registered source; None for the held-out tenth of the training source."""
    rows: int = 256
    per_conversation: int = 4
    """Rows per conversation of a source. A run has its own number."""
    only: str | None = None
    """Sections to measure, comma-separated; None for all."""
    record: str | None = None
    """File to write the record to."""
    step: int | None = None
    """Training step, if the pack is a checkpoint."""
    core_hours: float | None = None
    """Core-hours spent up to that step."""

    def sections(self) -> tuple[Section, ...]:
        """The sections to measure. Raises InputError naming the first unknown one."""
        if self.only is None:
            return tuple(Section)
        names = [name.strip() for name in self.only.split(",") if name.strip()]
        if unknown := next((name for name in names if name not in set(Section)), None):
            raise InputError(f"unknown section '{unknown}'; known: {', '.join(Section)}")
        return tuple(Section(name) for name in names)


def measured(request: MeasureRequest) -> tuple[Measured, HeldOut]:
    """Measure one pack. Raises InputError for unusable rows, PackError for a pack that does not work."""
    sections = request.sections()
    pack, target = named(request)
    from ..measure.evaluate import measure, subject_of

    pack.check_target(target)
    held = rows_of(request, pack, target)
    subject = subject_of(_engine(pack, target, request.dtype), request.step, request.core_hours)
    return measure(subject, held, sections), held


def plan(request: MeasureRequest) -> None:
    """Print what measuring would read and explain. Loads no weights. Raises InputError for a wrong request."""
    sections = request.sections()
    pack, target = named(request)
    pack.check_target(target)
    place = request.run or request.source or "the held-out part of the training source"
    print(f"{pack.id} on {target.name}: {request.rows} positions of {place}, block {pack.layer}")
    print(
        f"greedy explanations of at most {pack.max_new_tokens} tokens for each and for its controls; beside the round "
        f"trip: {', '.join(sections) or 'nothing'}"
    )


def rows_of(request: MeasureRequest, pack: Pack, target: Target, min_position: int | None = None) -> HeldOut:
    """The held-out rows that the request names, without rows that the pack was trained on."""
    if request.run is not None:
        from ..training.run_rows import MONITOR, of_folder

        held = of_folder(Path(request.run), monitor=MONITOR, rows=request.rows)
        if held.activations.shape[1] != pack.d_model:
            raise InputError(
                f"run '{request.run}' captured activations of width {held.activations.shape[1]}, pack '{pack.name}' "
                f"expects {pack.d_model}; give a run of the pack's target"
            )
        return held
    from ..measure.held_out_request import Request
    from ..measure.held_out_source import from_source
    from ..models.trained_on import trained_on

    wanted = Request(rows=request.rows, per_conversation=request.per_conversation, bucket=_bucket(pack))
    if request.source is not None:
        wanted = replace(wanted, source=request.source, bucket=None)
    first = pack.min_position if min_position is None else min_position
    return from_source(target, pack.layer, first, wanted, trained_on(pack.path))


def compare(first: str, second: str, request: MeasureRequest | None) -> None:
    """Print the figures of two packs side by side, from their cards or measured on the same rows."""
    print_comparison(_from_cards(first, second) if request is None else _measured_both(first, second, request))


def _from_cards(first: str, second: str) -> Comparison:
    cards = []
    for pack in (pack_of(first), pack_of(second)):
        found = card_of(pack)
        if found is None:
            raise InputError(f"pack '{pack.name}' has no card.json; compare with --measure")
        cards.append(found)
    from ..measure.compare import compare_cards

    return compare_cards(*cards)


def _measured_both(first: str, second: str, request: MeasureRequest) -> Comparison:
    sections = request.sections()
    packs = [named(replace(request, pack=name))[0] for name in (first, second)]
    target = load_target(request.target)
    from ..measure.compare import compare_measured
    from ..measure.evaluate import measure, subject_of

    for pack in packs:
        pack.check_target(target)
    if packs[0].layer != packs[1].layer:
        raise InputError(
            f"pack '{packs[0].name}' reads block {packs[0].layer}, '{packs[1].name}' block {packs[1].layer}; expected "
            "packs of one layer; leave --measure out to compare their cards"
        )
    held = rows_of(request, packs[0], target, max(p.min_position for p in packs))
    found = [measure(subject_of(_engine(p, target, request.dtype)), held, sections) for p in packs]
    return compare_measured(found[0], found[1], held.conversation)


def print_comparison(found: Comparison) -> None:
    """Print one row per figure: both values with intervals, and second minus first."""
    from rich.table import Table

    from ..measure.card import shown

    table = Table(box=None, pad_edge=False)
    for name in ("figure", "first", "second", "second - first", "n"):
        table.add_column(name, justify="left" if name == "figure" else "right", no_wrap=True)
    for row in found.rows:
        table.add_row(row.name, shown(row.first), shown(row.second), shown(row.gain), str(row.gain.n))
    console = wide_console()
    console.print(table, highlight=False)
    console.print(f"95 % intervals; differences {found.how}.", highlight=False)
    if found.only_one:
        console.print(f"Measured for only one of the two: {', '.join(found.only_one)}.", highlight=False)


def judge_sheet(request: MeasureRequest, out: str, seed: int) -> None:
    """Write a sheet of `request.rows` explanations with their contexts to judge by hand."""
    pack, target = named(request)
    from ..measure.evaluate import greedy
    from ..measure.judge_sheet import TYPES, VERDICTS, write_sheet

    pack.check_target(target)
    held = rows_of(replace(request, per_conversation=1), pack, target)
    (drawn,) = greedy(_engine(pack, target, request.dtype), [held.activations], pack.max_new_tokens)
    written = write_sheet(Path(out), pack.id, held, [draw.text for draw in drawn], seed, request.rows)
    print(f"{written} explanations in {out}. Enter {', '.join(VERDICTS)} in each of these columns:")
    for name, what in TYPES.items():
        print(f"  {name}: {what}")
    named_pack = [request.pack] if request.pack else []
    print(f"then: {next_step('nla-eval', 'pack', 'card', *named_pack, '--judgements', out, '--write')}")


def curve(records: Sequence[str], out: str) -> None:
    """Plot records over training into a PNG or SVG file."""
    if missing := next((r for r in records if not Path(r).is_file()), None):
        raise InputError(
            f"record {Path(missing).name}: no such file; "
            f"write one with: {next_step('nla-eval', 'pack', 'card', '--measure', '--record', missing)}"
        )
    if Path(out).suffix not in (".png", ".svg"):
        raise InputError(f"--out '{Path(out).name}'; expected a .png or .svg file")
    from ..measure.curves import over_training, save
    from ..measure.record import read_record

    save(over_training([read_record(Path(r)) for r in records]), Path(out))
    print(out)


def named(request: MeasureRequest) -> tuple[Pack, Target]:
    """The pack and target of a request. Raises NlaEvalError for a wrong request, before torch is imported."""
    checked_dtype(request.dtype)
    if request.rows < 2:
        raise InputError(f"--rows {request.rows}; expected at least 2")
    if request.run is not None and request.source is not None:
        raise InputError("--run and --source both name the rows to measure on; give only one")
    if request.run is not None and not Path(request.run).is_dir():
        raise InputError(f"--run '{request.run}' is not a folder; expected the folder of a training run")
    pack, target = pack_of(request.pack), load_target(request.target)
    if request.source is not None:
        from ..measure.held_out_request import Request

        _ = Request(source=request.source).reader
    return pack, target


def _engine(pack: Pack, target: Target, dtype: str) -> TransformersEngine:
    from ..engines.config import EngineConfig
    from ..engines.hf import TransformersEngine

    return TransformersEngine(target, pack, EngineConfig(dtype=torch_dtype(checked_dtype(dtype))))


def _bucket(pack: Pack) -> int:
    corpus = ((card_of(pack) or {}).get("config") or {}).get("corpus") or {}
    buckets = corpus.get("buckets_held_out") or [_HELD_OUT_BUCKET]
    return int(buckets[0])
