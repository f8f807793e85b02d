"""`nla-eval pack verify` and `card`: check a pack on its target; print, measure or complete its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models.dtypes import checked_dtype, torch_dtype
from ..models.target import load_target
from .pack_cards import card_of, keep_card, pack_of, with_judgements

if TYPE_CHECKING:
    from .pack_measure import MeasureRequest


def card(name: str | None, judgements: str | None = None, write: bool = False) -> None:
    """Print a pack's card as JSON, with the tally of a filled judgement sheet if one is given.

    Args:
        name: The pack; None for the shipped pack.
        judgements: A filled sheet of `nla-eval pack judge-sheet`.
        write: Whether to keep the card with the tally.

    Raises:
        InputError: The pack has no card, or the sheet belongs to another pack.
    """
    pack = pack_of(name)
    found = card_of(pack)
    if found is None:
        raise InputError(f"pack '{pack.name}' has no card.json; make one with: nla-eval pack card --measure --write")
    if judgements is not None:
        found = with_judgements(pack, found, Path(judgements))
    if write:
        if judgements is None:
            raise InputError("--write has nothing to save; add --measure or --judgements")
        keep_card(pack, found)
    print(json.dumps(found, indent=2, ensure_ascii=False))


def measured_card(request: MeasureRequest, judgements: str | None, write: bool) -> None:
    """Measure the pack again and print the card as Markdown."""
    from .pack_measure import measured, named

    request.sections()
    pack, _ = named(request)
    from ..measure.card import card_entries, card_text
    from ..measure.record import write_record

    old = card_of(pack) or {}
    if old.get("pack") != pack.id:
        old = {}  # the card describes other weights: none of its figures hold
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


def verify(name: str | None, target: str, dtype: str) -> None:
    """Check a pack's files, then load it on its target and run the engine's self-test.

    Raises:
        PackError: The first check that fails: checksums, size, shapes, finite numbers, target, norms, self-test.
    """
    dtype = checked_dtype(dtype)
    pack, loaded = pack_of(name), load_target(target)
    from ..engines.config import EngineConfig
    from ..engines.hf import TransformersEngine
    from ..models.pack_check import check_files

    pack.check_target(loaded)
    for line in check_files(pack, loaded):
        print(line)
    engine = TransformersEngine(loaded, pack, EngineConfig(dtype=torch_dtype(dtype)))
    print(engine.self_test())
    print(f"pack {pack.id} works on target {loaded.name}: layer {pack.layer}, {pack.d_model} wide")
