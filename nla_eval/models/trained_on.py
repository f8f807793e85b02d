"""Hashes of the transcripts a pack was trained on, and whether a transcript is one of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

HASHES = "training_hashes.txt"


def family_hash(family: str) -> str:
    """First 16 hex digits of a family's sha256."""
    return hashlib.sha256(family.encode()).hexdigest()[:16]


def training_hashes(family: str, digest: str) -> tuple[str, str]:
    """Entries of one transcript in a pack's `training_hashes.txt`: its `family_hash` and a 16-digit hash of its
    content."""
    return family_hash(family), digest[:16]


Shared = Literal["content", "family"]
"""What a transcript has in common with one that a pack was trained on."""


def shared_with(hashes: frozenset[str], family: str, digest: str) -> Shared | None:
    """What a transcript shares with the training text that `hashes` stand for; None for nothing."""
    of_family, of_content = training_hashes(family, digest)
    return "content" if of_content in hashes else "family" if of_family in hashes else None


def trained_on(pack_folder: Path) -> frozenset[str]:
    """Hashes of the families and contents a pack was trained on; empty if the pack has no such file."""
    file = pack_folder / HASHES
    return frozenset(file.read_text().split()) if file.is_file() else frozenset()
