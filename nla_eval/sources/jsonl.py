"""Transcripts from a JSONL file: one object a line, {id, messages, family?, outcome?, variant?, model?, tools?, meta?},
messages in the OpenAI shape. A line that cannot be used becomes a `Skipped` row that names it; the reading goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ._base import (
    SOURCES,
    Fields,
    Item,
    RecordError,
    Skipped,
    SourceOptions,
    as_text,
    lookup,
    make_transcript,
    screened,
)
from ._messages import chat_messages, tool_infos


@SOURCES.register("jsonl")
def read(path: Path | None, options: SourceOptions) -> Iterator[Item]:
    """Transcripts of the JSONL file at `path`, lazily.

    Raises:
        InputError: no such file, or not one usable transcript in it.
    """
    if path is None or not path.is_file():
        raise InputError(
            f"source 'jsonl': no file '{path.name if path else ''}'; give a file with one JSON object a line"
        )
    yield from screened(_lines(path, options), options, path.name)


def _lines(path: Path, options: SourceOptions) -> Iterator[Item]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield make_transcript(_fields(line, number, options), options, path.name)
            except RecordError as error:
                yield Skipped(f"{path.name} line {number}", str(error))


def _fields(line: bytes, number: int, options: SourceOptions) -> Fields:
    record = _object(line)
    transcript_id = str(record.get("id") or f"line-{number}")
    family = lookup(record, options.family_key or "family")
    outcome = lookup(record, options.outcome_key or "outcome")
    variant, model, meta = record.get("variant"), record.get("model"), record.get("meta")
    return Fields(
        id=transcript_id,
        messages=chat_messages(record.get("messages"), transcript_id, options.roles),
        family=transcript_id if family is None else as_text(family),
        model=None if model is None else str(model),
        outcome=None if outcome is None else as_text(outcome),
        variant=None if variant is None else str(variant),
        tools=tool_infos(record.get("tools")),
        metadata=meta if isinstance(meta, dict) else {},
    )


def _object(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RecordError("not UTF-8") from None
    except RecursionError:
        raise RecordError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return record
