"""Names of the optional measurements of a pack. Imports nothing heavy, so that commands check names first."""

from __future__ import annotations

from enum import StrEnum


class Section(StrEnum):
    """Optional measurements. The round trip and the ablation are always measured."""

    TASKS = "tasks"
    PAIRS = "pairs"
    DRAWS = "draws"
    """The pair sets also read from eight draws per position; implies `pairs`."""
    PARAPHRASE = "paraphrase"
    RECURRENCE = "recurrence"
