"""Readers of transcripts: one small module per format, one registry. A source is a lazy function from a place and
options to transcripts, with a `Skipped` row for each record that cannot be used. `read` finds the reader by content."""

from . import claude_code, hub, inspect_log, jsonl, oasst, parquet, scout, sharegpt, swe_agent
from ._base import Branches, Item, Skipped, SourceOptions, message_id
from ._detect import read, source_of
from ._notes import SourceNotes, Unread
from ._source import SOURCES, Place, Source, files_below

__all__ = [
    "SOURCES",
    "Branches",
    "Item",
    "Place",
    "Skipped",
    "Source",
    "SourceNotes",
    "SourceOptions",
    "Unread",
    "claude_code",
    "files_below",
    "hub",
    "inspect_log",
    "jsonl",
    "message_id",
    "oasst",
    "parquet",
    "read",
    "scout",
    "sharegpt",
    "source_of",
    "swe_agent",
]
