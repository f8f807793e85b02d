"""Finds a pack by name; finds, completes and writes its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, PackError
from ..models.pack import Pack, default_pack, load_pack

if TYPE_CHECKING:
    pass


def with_judgements(pack: Pack, card: Mapping[str, Any], sheet: Path) -> Mapping[str, Any]:
    """The card with the tally of a filled sheet. Raises InputError when the sheet belongs to another pack."""
    from ..measure.judge_sheet import read_sheet

    truth = read_sheet(sheet)
    if truth.pack != pack.id:
        raise InputError(
            f"judgements {sheet.name} are of pack {truth.pack}; expected a sheet of pack {pack.id}; "
            f"write one with: nla-eval pack judge-sheet sheet.csv --pack {pack.name}"
        )
    return {**card, "claims": truth.as_dict()}


def keep_card(pack: Pack, card: Mapping[str, Any]) -> None:
    """Write card.json and CARD.md, each atomically, and update the pack's checksums if it has any."""
    from ..measure.card import write_card
    from ..models.pack_check import SUMS, write_sums

    write_card(card, pack.path)
    if (pack.path / SUMS).is_file():
        write_sums(pack.path)


def pack_of(name: str | None) -> Pack:
    """The pack of that name, or the shipped pack."""
    return default_pack() if name is None else load_pack(name)


def card_of(pack: Pack) -> Mapping[str, Any] | None:
    """A pack's card, or None when it has none. Raises PackError when it is not JSON."""
    try:
        return pack.card
    except ValueError as err:
        raise PackError(f"card.json of pack '{pack.name}' is not JSON; restore or delete it") from err


def card_by_id(pack_id: str) -> Mapping[str, Any] | None:
    """The card of the pack with this id; None when exactly that pack is not here or has no card."""
    try:
        pack = load_pack(pack_id.partition("@")[0])
    except PackError:
        return None
    return card_of(pack) if pack.id == pack_id else None
