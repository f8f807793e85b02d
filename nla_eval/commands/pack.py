"""`nla-eval pack`: verify a pack on its target, and print what was measured of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InputError, PackError
from ..pack import Pack, default_pack, load_pack
from ..runtime import RuntimeSettings, torch_dtype
from ..target import load_target


def card(name: str | None) -> None:
    """Print a pack's card as JSON. Raises InputError when it has none."""
    pack = default_pack() if name is None else load_pack(name)
    found = card_of(pack)
    if found is None:
        raise InputError(f"pack '{pack.name}' has no card.json; nla-eval train writes one")
    print(json.dumps(found, indent=2, ensure_ascii=False))


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
    """Load a pack on its target and run the engine's self-test, which raises PackError on any failure."""
    from ..engines.config import EngineConfig
    from ..engines.hf import TransformersEngine

    settings = RuntimeSettings(target=target, pack=name, dtype=dtype)
    pack, loaded = default_pack() if name is None else load_pack(name), load_target(target)
    engine = TransformersEngine(loaded, pack, EngineConfig(dtype=torch_dtype(settings.dtype)))
    print(engine.self_test())
    print(f"pack {pack.id} works on target {loaded.name}: layer {pack.layer}, {pack.d_model} wide")
