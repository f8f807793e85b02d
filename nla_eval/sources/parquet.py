"""Transcripts from a Parquet file with a chat column, such as WildChat's or LMSYS-Chat-1M's `conversation`.

The column holds lists of {role, content} or {from, value}, or the JSON text of such a list. Rows come by batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..printable import one_line
from ._base import Item, SourceOptions
from ._chat import chats
from ._keys import KNOWN, MESSAGES, PROMPTS, TASK
from ._notes import BOOKKEEPING
from ._probe import Container, Probe
from ._source import SOURCES, Source

if TYPE_CHECKING:
    import pyarrow


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    from ._tables import holds_text, is_chat, parquet_rows, rows_of

    keys = (options.messages_key, options.id_key, options.family_key, options.outcome_key)
    named = {key.split(".")[0] for key in keys if key}

    def wanted(schema: pyarrow.Schema) -> list[str]:
        chat = [field.name for field in schema if is_chat(field.type)]
        missing = sorted(named - set(schema.names))
        if missing:
            raise InputError(
                one_line(f"{path.name}: no column '{missing[0]}'; its columns are {', '.join(schema.names)}")
            )
        if options.messages_key is None and not chat and not {*MESSAGES, *PROMPTS, TASK} & set(schema.names):
            names = one_line(", ".join(schema.names))
            raise InputError(f"{path.name}: no column holds messages; name one (--messages-key): {names}")
        columns = [name for name in schema.names if name in named or name in KNOWN or name in chat]
        for field in schema:
            if field.name not in columns and field.name not in BOOKKEEPING and holds_text(field.type):
                options.notes.add(f"{field.name} (column)", rows_of(path))
        return columns

    yield from chats(parquet_rows(path, wanted), options, path.name)


def _fits(probe: Probe) -> bool:
    return probe.container is Container.PARQUET


read = SOURCES.register("parquet")(
    Source(
        "parquet",
        "a Parquet file with a chat column (WildChat, LMSYS-Chat-1M, any)",
        _read,
        _fits,
        suffixes=(".parquet",),
        generic=True,
    )
)
