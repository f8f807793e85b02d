"""Readers of transcripts: one small module per source, one registry. A source is a lazy function from a path and
options to transcripts, with a `Skipped` row for each record that cannot be used."""

from . import inspect_log, jsonl, sharegpt
from ._base import SOURCES, Item, Skipped, Source, SourceOptions, message_id

__all__ = ["SOURCES", "Item", "Skipped", "Source", "SourceOptions", "inspect_log", "jsonl", "message_id", "sharegpt"]
