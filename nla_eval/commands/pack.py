"""`nla-eval pack`: verify a pack on its target, and print what was measured of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..pack import Pack, default_pack, load_pack
from ..runtime import RuntimeSettings, runtime_for

CARD = "card.json"


def card_of(pack: str | None, *, only: str | None = None) -> Mapping[str, Any] | None:
    """A pack's card, or None when it has none.

    Args:
        pack: Name or folder; None for the default pack.
        only: None unless the pack must have this id; another pack's card is not given.

    Raises:
        PackError: There is no such pack.
        InputError: The card is not JSON.
    """
    found = _pack(pack)
    path = found.path / CARD
    if (only is not None and found.id != only) or not path.is_file():
        return None
    try:
        card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise InputError(f"{CARD} of pack '{found.id}' is not JSON; restore it from the repository") from err
    return card


def card(pack: str | None) -> None:
    """Print the card."""
    found = card_of(pack)
    if found is None:
        raise InputError(f"pack '{_pack(pack).id}' has no {CARD}; nla-eval train writes one")
    print(json.dumps(found, indent=2, ensure_ascii=False))


def verify(pack: str | None, target: str, dtype: str) -> None:
    """Load the pack on its target and run the engine's self-test."""
    runtime = runtime_for(RuntimeSettings(target=target, pack=pack, dtype=dtype))
    facts = runtime.instrument.pack
    engine: Any = runtime.engine
    print(engine.self_test())
    print(f"pack {facts.id} works on target {runtime.target.name}: layer {facts.layer}, {facts.d_model} wide")


def _pack(name: str | None) -> Pack:
    return default_pack() if name is None else load_pack(name)
