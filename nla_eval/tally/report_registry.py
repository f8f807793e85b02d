"""The registry of report builders. The `reports` room registers them; the command line looks them up by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from ..registry import Registry
from .types import Tally
from .types_diff import Diff


class ReportBuilder(Protocol):
    """Writes one report file from one tally."""

    def __call__(
        self, tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
    ) -> Path:
        """Write the report.

        Args:
            tally: Every number.
            provenance: Target, pack, layer, policy, seed, rubric, versions, command; nested values are flattened.
            pack_card: The pack's `card.json`, or None when the pack has none.
            out: A file, or a folder; in a folder, the report gets its default name.

        Returns:
            The file written.
        """
        ...


REPORTS: Registry[ReportBuilder] = Registry("report")
"""Builders by name; "html" is shipped."""


class DiffBuilder(Protocol):
    """Writes one file from a comparison of runs."""

    def __call__(self, diff: Diff, out: Path) -> Path:
        """Write the comparison to `out` (a file, or a folder for a file of the default name), and return the file."""
        ...


DIFFS: Registry[DiffBuilder] = Registry("format of a comparison")
"""Builders of comparisons by name, a subset of the names in `REPORTS`."""
