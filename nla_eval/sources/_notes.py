"""What a reader says about a place beside its transcripts: keys that held text and were not read, and its own counters.

A reader is lazy, so the notes fill while its transcripts are taken; they are complete once the iterator ends. Memory is
bounded: names beyond `MOST_NAMES` are counted together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..printable import one_line

BOOKKEEPING = frozenset(
    (
        *("id", "uuid", "message_id", "type", "object", "index", "created", "created_at", "updated_at", "timestamp"),
        *("time", "date", "model", "status", "stop_reason", "finish_reason", "stop_sequence", "usage", "logprobs"),
        *("stopReason", "finishReason", "done_reason", "token_ids", "weight", "cache_control", "signature", "source"),
        *("language", "lang", "createdAt", "updatedAt"),
    )
)
"""Keys that hold no words of a conversation, in records and messages of any format."""
MOST_NAMES = 200
"""Names of keys that are kept apart. Objects whose keys are data (ids, file names) would otherwise fill the memory."""
FURTHER = "(further keys)"
_DEEPEST = 6


@dataclass
class Unread:
    """A key that held text and was not read."""

    times: int = 0
    characters: int = 0


@dataclass
class SourceNotes:
    """Counts over one reading of a place. Readers add to it; `SourceOptions.notes` carries it."""

    unread: dict[str, Unread] = field(default_factory=dict)
    """By dotted name, such as "messages[].extra.notes"."""
    counts: dict[str, int] = field(default_factory=dict)
    """What a reader counts beside, in its own words: "branches left out", "samples that ended in an error"."""
    families: dict[str, int] = field(default_factory=dict)
    """Transcripts by the rule that gave their family: "'task_id' of the record", "the record itself"."""

    def unread_line(self, most: int) -> str:
        """Keys that held text and were not read, with how often and how much, most characters first; empty if none."""
        found = sorted(self.unread.items(), key=lambda key: -key[1].characters)
        shown = [
            f"{one_line(name)} in {held.times}" + (f" ({held.characters:,} characters)" if held.characters else "")
            for name, held in found[:most]
        ]
        return ", ".join(shown) + (f" and {len(found) - most} more" if len(found) > most else "")

    def count(self, what: str, times: int = 1) -> None:
        """Add to a counter. Zero makes no entry."""
        if times:
            self.counts[what] = self.counts.get(what, 0) + times

    def family_by(self, rule: str) -> None:
        """Count a transcript by the rule that gave its family."""
        self.families[rule] = self.families.get(rule, 0) + 1

    def left(self, record: Mapping[str, Any], read: Iterable[str], below: str = "") -> None:
        """Note every text of `record` that stands under other keys than those in `read`.

        Args:
            record: A decoded object.
            read: Its keys that were read, or that hold no words by their format.
            below: Where it stands: "" for a record, "messages[]." for one of its messages.
        """
        for key in record.keys() - read:
            self.hold(f"{below}{key}", record[key])

    def hold(self, name: str, value: Any, depth: int = 0) -> None:
        """Note the texts of a value that was not read, each under its dotted name."""
        if isinstance(value, str):
            if value and not value.isspace():
                self.add(name, 1, len(value))
        elif depth < _DEEPEST and isinstance(value, Mapping):
            for key, held in value.items():
                self.hold(f"{name}.{key}", held, depth + 1)
        elif depth < _DEEPEST and isinstance(value, list | tuple):
            for held in value:
                self.hold(f"{name}[]", held, depth + 1)

    def add(self, name: str, times: int, characters: int = 0) -> None:
        """Note texts under a name. Characters are 0 where nobody looked, as in a column that was not decoded."""
        if name not in self.unread and len(self.unread) >= MOST_NAMES:
            name = FURTHER
        entry = self.unread.setdefault(name, Unread())
        entry.times += times
        entry.characters += characters
