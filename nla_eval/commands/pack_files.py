"""`nla-eval pack export`, `import` and `merge`: packs as plain weights and in the public checkpoint format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import new_folder
from ..models.dtypes import checked_dtype, torch_dtype
from ..models.pack import Pack, load_pack
from ..models.target import load_target
from .next_step import next_step
from .pack_cards import pack_of

if TYPE_CHECKING:
    from ..training.models.whole_weights import Writing

FORMATS = ("public",)
"""Formats that `pack export` can write."""


def export(name: str | None, out: str, format_: str, target: str, dtype: str) -> None:
    """Write a pack in another format to a new folder. Raises InputError for an unknown format."""
    if format_ not in FORMATS:
        raise InputError(f"unknown format '{format_}'; known: {', '.join(FORMATS)}")
    checked_dtype(dtype)
    folder, pack, loaded = new_folder(Path(out)), pack_of(name), load_target(target)
    from ..training.pack.public_format import export as write

    made = write(pack, loaded, folder, _writing(dtype))
    print(f"{made.id} in {out}: av/ and ar/, each a transformers checkpoint with nla_meta.yaml{_left_out(pack)}")


def import_(source: str, out: str, target: str, baseline_variance: float | None) -> None:
    """Import a folder in the public format as a pack."""
    folder, loaded = new_folder(Path(out)), load_target(target)
    load_pack(source)
    from ..training.pack.public_format import import_ as take

    made = take(source, loaded, folder, baseline_variance)
    check = next_step("nla-eval", "pack", "verify", out, "--target", target)
    print(f"pack {made.id} in {out}; next: {check}")


def merge(name: str | None, out: str, target: str, dtype: str) -> None:
    """Merge a pack's adapters into full checkpoints."""
    checked_dtype(dtype)
    folder, pack, loaded = new_folder(Path(out)), pack_of(name), load_target(target)
    from ..training.pack.public_format import merge as fold

    made = fold(pack, loaded, folder, _writing(dtype))
    print(f"pack {made.id} in {out}, without adapters{_left_out(pack)}")


def _left_out(pack: Pack) -> str:
    """That only the explanation adapter is in a checkpoint, if the pack has others."""
    others = [name for name, there in (("setting", pack.av.setting), ("text_only", pack.av.text_only)) if there]
    return f"; the explanation adapter only: {' and '.join(others)} left out" if others else ""


def _writing(dtype: str) -> Writing:
    from ..training.models.whole_weights import Writing

    return Writing(dtype=torch_dtype(checked_dtype(dtype)))
