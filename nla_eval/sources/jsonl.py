"""Transcripts from chat messages in JSON: one object a line, or one list, plain or gzip.

Records are {id?, messages, family?, outcome?, variant?, model?, tools?, meta?} in any of the shapes of `_messages`. One
that cannot be used becomes a `Skipped` row that names it; the reading goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ._base import Item, SourceOptions
from ._chat import chats, has_chat
from ._json import json_records
from ._probe import Container, Probe
from ._source import SOURCES, Source


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    yield from chats(json_records(path, options), options, path.name)


def _fits(probe: Probe) -> bool:
    return probe.container in (Container.LINES, Container.LIST, Container.OBJECT) and any(map(has_chat, probe.records))


read = SOURCES.register("jsonl")(
    Source(
        "jsonl",
        "chat messages in JSON, one object a line or one list (OpenAI, Anthropic, ShareGPT, Inspect shapes)",
        _read,
        _fits,
        suffixes=(".jsonl", ".jsonl.gz"),
        generic=True,
    )
)
