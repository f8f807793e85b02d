"""A tally as data: JSON with a published schema (docs/tally.schema.json), and one tidy table as CSV or parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nla_eval.tally.published import published
from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.tidy import tidy
from nla_eval.tally.types import Tally

from ._files import beside, write
from ._format import as_mapping


@REPORTS.register("json")
def build_json(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the whole tally, with provenance and the pack's card inside."""
    card = None if pack_card is None else dict(pack_card)
    whole = tally.model_copy(update={"provenance": dict(as_mapping(provenance)), "pack_card": card})
    return write(beside(out, ".json"), published(whole).encode("utf-8", "backslashreplace"))


@REPORTS.register("csv")
def build_csv(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the tidy table as CSV: one row per number."""
    return write(beside(out, ".csv"), tidy(tally).write_csv().encode("utf-8", "backslashreplace"))


@REPORTS.register("parquet")
def build_parquet(
    tally: Tally, provenance: Mapping[str, Any] | BaseModel, pack_card: Mapping[str, Any] | None, out: Path
) -> Path:
    """Write the tidy table as parquet."""
    buffer = io.BytesIO()
    tidy(tally).write_parquet(buffer)
    return write(beside(out, ".parquet"), buffer.getvalue())
