"""Hashes of what a pack was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

HASHES = "training_hashes.txt"


def family_hash(family: str) -> str:
    """16 hex digits of a family's sha256."""
    return hashlib.sha256(family.encode()).hexdigest()[:16]


def training_hashes(family: str, digest: str) -> tuple[str, str]:
    """What a pack's `training_hashes.txt` holds of a transcript: `family_hash`, and 16 hex digits of its content's."""
    return family_hash(family), digest[:16]


def trained_on(pack_folder: Path) -> frozenset[str]:
    """Hashes of the families and contents a pack was trained on; empty when the pack ships none."""
    file = pack_folder / HASHES
    return frozenset(file.read_text().split()) if file.is_file() else frozenset()
