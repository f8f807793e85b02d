"""Readers of transcripts: one small module per format, one registry. A source is a lazy function from a place and
options to transcripts, with a `Skipped` row for each record that cannot be used. `read` finds the reader by content."""

from . import (
    atif,
    chatgpt,
    claude_code,
    codex,
    dpo,
    gemini,
    gemini_cli,
    hub,
    inspect_log,
    jsonl,
    langsmith,
    messages,
    oasst,
    parquet,
    responses,
    scout,
    sharegpt,
    swe_agent,
    tau2,
)
from ._base import Answers, Branches, Item, Skipped, SourceOptions, message_id
from ._detect import read, source_of
from ._notes import SourceNotes, Unread
from ._source import SOURCES, Place, Source, files_below

__all__ = [
    "SOURCES",
    "Answers",
    "Branches",
    "Item",
    "Place",
    "Skipped",
    "Source",
    "SourceNotes",
    "SourceOptions",
    "Unread",
    "atif",
    "chatgpt",
    "claude_code",
    "codex",
    "dpo",
    "files_below",
    "gemini",
    "gemini_cli",
    "hub",
    "inspect_log",
    "jsonl",
    "langsmith",
    "message_id",
    "messages",
    "oasst",
    "parquet",
    "read",
    "responses",
    "scout",
    "sharegpt",
    "source_of",
    "swe_agent",
    "tau2",
]
