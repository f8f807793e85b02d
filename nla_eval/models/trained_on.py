"""Hashes of the transcripts a pack was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

HASHES = "training_hashes.txt"


def family_hash(family: str) -> str:
    """First 16 hex digits of a family's sha256."""
    return hashlib.sha256(family.encode()).hexdigest()[:16]


def training_hashes(family: str, digest: str) -> tuple[str, str]:
    """Entries of one transcript in a pack's `training_hashes.txt`: its `family_hash` and a 16-digit hash of its
    content."""
    return family_hash(family), digest[:16]


def trained_on(pack_folder: Path) -> frozenset[str]:
    """Hashes of the families and contents a pack was trained on; empty if the pack has no such file."""
    file = pack_folder / HASHES
    return frozenset(file.read_text().split()) if file.is_file() else frozenset()
