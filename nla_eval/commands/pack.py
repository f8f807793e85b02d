"""`nla-eval pack verify` and `card`: check a pack on its target, and print, measure or complete what is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, PackError
from ..models.dtypes import checked_dtype, torch_dtype
from ..models.pack import Pack, default_pack, load_pack
from ..models.target import load_target

if TYPE_CHECKING:
    from .pack_measure import MeasureRequest


def card(name: str | None, judgements: str | None = None, write: bool = False) -> None:
    """Print a pack's card as JSON, with the tally of a filled judgement sheet put in.

    Args:
        name: The pack; None for the one that ships.
        judgements: A filled sheet of `nla-eval pack judge-sheet`.
        write: Whether to keep the card with the tally.

    Raises:
        InputError: It has no card, or the sheet is of another pack.
    """
    pack = pack_of(name)
    found = card_of(pack)
    if found is None:
        raise InputError(f"pack '{pack.name}' has no card.json; nla-eval pack card --measure --write writes one")
    if judgements is not None:
        found = with_judgements(pack, found, Path(judgements))
    if write:
        if judgements is None:
            raise InputError("--write keeps what --measure or --judgements adds; give one of them")
        keep_card(pack, found)
    print(json.dumps(found, indent=2, ensure_ascii=False))


def measured_card(request: MeasureRequest, judgements: str | None, write: bool) -> None:
    """Measure the pack again and print the card as Markdown."""
    from ..measure.card import card_entries, card_text
    from ..measure.record import write_record
    from .pack_measure import measured

    pack = pack_of(request.pack)
    old = card_of(pack) or {}
    if old.get("pack") != pack.id:
        old = {}  # a card of other weights: nothing of it holds
    result, _ = measured(request)
    facts = {"pack": pack.id, "target": result.record.target, "layer": pack.layer}
    found: Mapping[str, Any] = {**old, **facts, **card_entries(result.record)}
    if judgements is not None:
        found = with_judgements(pack, found, Path(judgements))
    if request.record is not None:
        write_record(result.record, Path(request.record))
    if write:
        keep_card(pack, found)
    print(card_text(found))


def with_judgements(pack: Pack, card: Mapping[str, Any], sheet: Path) -> Mapping[str, Any]:
    """The card with a filled sheet's tally. Raises InputError when the sheet is of another pack."""
    from ..measure.judge_sheet import read_sheet

    truth = read_sheet(sheet)
    if truth.pack != pack.id:
        raise InputError(f"judgements {sheet.name} are of pack {truth.pack}, this is {pack.id}; judge its explanations")
    return {**card, "claims": truth.as_dict()}


def keep_card(pack: Pack, card: Mapping[str, Any]) -> None:
    """Write card.json and CARD.md, each whole or not at all, and the pack's checksums where it has them."""
    from ..measure.card import write_card
    from ..models.pack_check import SUMS, write_sums

    write_card(card, pack.path)
    if (pack.path / SUMS).is_file():
        write_sums(pack.path)


def pack_of(name: str | None) -> Pack:
    """The pack of that name, or the one that ships."""
    return default_pack() if name is None else load_pack(name)


def card_of(pack: Pack) -> Mapping[str, Any] | None:
    """A pack's card, or None when it has none. Raises PackError when it is not JSON."""
    try:
        return pack.card
    except ValueError as err:
        raise PackError(f"card.json of pack '{pack.name}' is not JSON; restore it, or delete it") from err


def card_by_id(pack_id: str) -> Mapping[str, Any] | None:
    """The card of the pack that readings name, or None when that very pack is not at hand or has no card."""
    try:
        pack = load_pack(pack_id.partition("@")[0])
    except PackError:
        return None
    return card_of(pack) if pack.id == pack_id else None


def verify(name: str | None, target: str, dtype: str) -> None:
    """Check a pack's files, then load it on its target and run the engine's self-test.

    Raises:
        PackError: The first check that fails: checksums, size, shapes, finite numbers, target, norms, self-test.
    """
    from ..engines.config import EngineConfig
    from ..engines.hf import TransformersEngine
    from ..models.pack_check import check_files

    dtype = checked_dtype(dtype)
    pack, loaded = pack_of(name), load_target(target)
    pack.check_target(loaded)
    for line in check_files(pack, loaded):
        print(line)
    engine = TransformersEngine(loaded, pack, EngineConfig(dtype=torch_dtype(dtype)))
    print(engine.self_test())
    print(f"pack {pack.id} works on target {loaded.name}: layer {pack.layer}, {pack.d_model} wide")
