"""What may be measured of a pack, by name. Imports nothing heavy: commands check names before loading anything."""

from __future__ import annotations

from enum import StrEnum


class Section(StrEnum):
    """What may be measured beside the round trip and the ablation, which always are."""

    TASKS = "tasks"
    PAIRS = "pairs"
    DRAWS = "draws"
    """The pair sets read from eight draws a position too; takes `pairs` with it."""
    PARAPHRASE = "paraphrase"
    RECURRENCE = "recurrence"
