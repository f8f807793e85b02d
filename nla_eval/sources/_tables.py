"""Rows of a Parquet file, some at a time and only the columns that are asked for. It knows no shape of transcript.

Readers import it when they read: Arrow is too slow for the start of every Inspect command."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pyarrow.types

from ..errors import InputError
from ..printable import told
from ._base import Record, Skipped

_BATCH_BYTES = 1 << 23
_BUFFER_BYTES = 1 << 20
_FAULTS = (pyarrow.ArrowException, OSError, ValueError, OverflowError)


def parquet_rows(path: Path, wanted: Callable[[pyarrow.Schema], list[str]]) -> Iterator[Record | Skipped]:
    """Rows as dictionaries without what is null, in file order. A column chunk is read through a buffer: its size does
    not matter.

    Args:
        path: A Parquet file.
        wanted: Chooses columns from the schema.

    Raises:
        InputError: not a Parquet file; none of the columns.
    """
    try:
        file = pyarrow.parquet.ParquetFile(str(path), buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except _FAULTS as error:
        raise InputError(f"{path.name}: not a readable Parquet file: {told(error)}") from None
    with closing(file):
        yield from _rows(file, path.name, wanted(file.schema_arrow))


def _rows(file: pyarrow.parquet.ParquetFile, name: str, columns: list[str]) -> Iterator[Record | Skipped]:
    number = 0
    batches = file.iter_batches(_batch_rows(file), columns=columns, use_threads=False)
    try:
        with closing(_ahead(batches)) as ahead:
            for batch in ahead:
                try:
                    rows: list[Any] | None = _plain(batch.to_struct_array())
                except (UnicodeDecodeError, ValueError, pyarrow.ArrowException, OverflowError):
                    rows = None  # one row of it is at fault: they are taken one by one
                for row in range(batch.num_rows):
                    number += 1
                    where = f"{name} row {number}"
                    yield _row(batch, row, number, where) if rows is None else Record(where, rows[row], number)
    except _FAULTS as error:
        yield Skipped(f"{name} after row {number}", f"damaged, the rest is not read: {told(error)}")


def _ahead(batches: Iterator[pyarrow.RecordBatch]) -> Generator[pyarrow.RecordBatch]:
    """The batches. Arrow unpacks the next one in a thread while the rows of this one are in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _plain(array: pyarrow.Array) -> list[Any]:
    """What Arrow's `to_pylist` gives, without the fields of structs that are null, and several times as fast: field by
    field, not scalar by scalar."""
    kind = array.type
    if pyarrow.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        columns = [_plain(column) for column in array.flatten()]
        rows = [
            {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for values in zip(*columns, strict=True)
        ]
        if not names:
            rows = [{} for _ in range(len(array))]
        if not array.null_count:
            return rows
        return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        held = iter(_plain(array.flatten()))
        lengths = array.value_lengths().to_pylist()
        return [None if length is None else list(islice(held, length)) for length in lengths]
    found: list[Any] = array.to_pylist()
    return found


def _row(batch: pyarrow.RecordBatch, row: int, number: int, where: str) -> Record | Skipped:
    try:
        return Record(where, without_nulls(batch.slice(row, 1).to_pylist()[0]), number)
    except (UnicodeDecodeError, pyarrow.ArrowException, OverflowError, ValueError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else told(error)
        return Skipped(where, reason)


def _batch_rows(file: pyarrow.parquet.ParquetFile) -> int:
    metadata = file.metadata
    total = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    each = int(total) / max(1, int(metadata.num_rows))
    return max(1, min(1024, int(_BATCH_BYTES / max(1.0, each))))


def is_chat(kind: pyarrow.DataType) -> bool:
    """Whether a column is a list of {role, ...} or {from, ...}."""
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)):
        return False
    held = kind.value_type
    return pyarrow.types.is_struct(held) and any(
        held.field(index).name in ("role", "from") for index in range(held.num_fields)
    )


def rows_of(path: Path) -> int:
    """Rows of a Parquet file, by its footer."""
    return int(pyarrow.parquet.read_metadata(path).num_rows)


def holds_text(kind: pyarrow.DataType) -> bool:
    """Whether a column holds text, itself or inside lists and structs."""
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return holds_text(kind.value_type)
    if pyarrow.types.is_struct(kind):
        return any(holds_text(kind.field(index).type) for index in range(kind.num_fields))
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def without_nulls(value: Any) -> Any:
    """Arrow gives every struct all its fields: those that are null say nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(held) for key, held in value.items() if held is not None}
    return [without_nulls(held) for held in value] if isinstance(value, list) else value
