"""The writer that reads explanations from a Parquet or JSON-lines file with the columns row, position and text.

A missing explanation leaves its position out; an error names positions with more than one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from ...errors import InputError
from .base import WRITERS, Request, WriterContext, Written

_COLUMNS = ("row", "position", "text")
_NAMED = 5


@WRITERS.register("file")
class FileWriter:
    """Looks up explanations in `writer.path`."""

    def __init__(self, context: WriterContext) -> None:
        given = context.config.writer.path
        if given is None:
            raise InputError("writer 'file' needs writer.path: a .parquet or .jsonl file with row, position and text")
        self._path = Path(given)

    def cost(self, requests: Sequence[Request]) -> str:
        """The number of explanations to look up; nothing is generated."""
        return f"{len(requests)} explanations are looked up in {self._path.name}"

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One result per request. Raises InputError if a position is explained twice, or if none is explained."""
        found = self._read()
        twice = found.filter(pl.struct("row", "position").is_duplicated()).select("row", "position").unique()
        if len(twice):
            named = _named(twice.sort(*_COLUMNS[:2]).rows())
            raise InputError(
                f"{self._path.name}: {len(twice)} positions are explained more than once: {named}; keep one each"
            )
        texts = {(row, position): text for row, position, text in found.rows()}
        wanted = [(r.row, r.position) for r in requests]
        missing = [key for key in wanted if not texts.get(key)]
        if missing:
            print(f"writer file: {len(missing)} of {len(wanted)} positions have no text: {_named(missing)}", flush=True)
        if extra := len(texts.keys() - set(wanted)):
            print(f"writer file: {extra} rows of {self._path.name} belong to no position of this corpus", flush=True)
        if len(missing) == len(wanted):
            raise InputError(
                f"{self._path.name} explains none of the {len(wanted)} positions; give a file made for this corpus"
            )
        return [Written(texts[key]) if texts.get(key) else Written(None, "not in the file") for key in wanted]

    def _read(self) -> pl.DataFrame:
        name = self._path.name
        if not self._path.is_file():
            raise InputError(f"writer 'file': no file '{name}'; correct writer.path")
        try:
            frame = (pl.read_parquet if self._path.suffix == ".parquet" else pl.read_ndjson)(self._path)
        except PolarsError as err:
            raise InputError(f"{name} is not as expected, parquet or JSON lines: {str(err).splitlines()[0]}") from err
        absent = [c for c in _COLUMNS if c not in frame.columns]
        if absent:
            raise InputError(
                f"{name} lacks the column {', '.join(absent)}; it has {', '.join(frame.columns)}; rename or add it"
            )
        try:
            return frame.select(pl.col("row", "position").cast(pl.Int64), pl.col("text").cast(pl.String))
        except PolarsError as err:
            raise InputError(
                f"{name}: expected numbers as row and position, and text as a string: {str(err).splitlines()[0]}"
            ) from err


def _named(keys: Sequence[tuple[object, ...]]) -> str:
    shown = ", ".join(f"({row}, {position})" for row, position in keys[:_NAMED])
    return shown + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
