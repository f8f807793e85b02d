"""Opens what a user gives the explorer: a file of any format that the readers know, or a pasted chat.

In: a path, the bytes of a file, or pasted text. Out: transcripts, and one line for each record left out. The bytes go
through the same readers as a file on disk; nothing about a transcript is decided here."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from ..errors import InputError
from ..printable import one_line, plural
from ..sources import Skipped, SourceOptions
from ..sources import read as read_source
from ..transcript import Arm, Transcript

MOST_BYTES = 32_000_000
"""Size of a file or text that a page may send."""
_MOST_TRANSCRIPTS = 50
"""Transcripts that are opened of one file."""
_SUITE = "explored"
_TURN = re.compile(r"^[ \t]*(system|user|human|assistant|ai|model)[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}
_EXPECTED = (
    "begin each turn with 'User:' or 'Assistant:' at the start of a line, or paste JSON such as "
    '[{"role": "user", "content": "..."}]'
)


@dataclass(frozen=True)
class Opened:
    """What was found."""

    transcripts: tuple[Transcript, ...]
    notes: tuple[str, ...] = ()
    """One line each: what was left out, and why."""


def open_file(path: Path, reader: str = "") -> Opened:
    """The transcripts of a file or folder. Raises InputError if no reader knows it, or nothing in it is usable.

    Args:
        path: The file or folder.
        reader: Name of the reader; by default the one that knows the content.
    """
    found: list[Transcript] = []
    skipped: list[Skipped] = []
    for item in _items(path, reader):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            found.append(item)
    notes = []
    if skipped:
        notes.append(f"{plural(len(skipped), 'record')} left out, the first: {skipped[0]}")
    if len(found) > _MOST_TRANSCRIPTS:
        found = found[:_MOST_TRANSCRIPTS]
        notes.append(f"only the first {_MOST_TRANSCRIPTS} transcripts are opened")
    return Opened(tuple(found), tuple(notes))


def _items(path: Path, reader: str) -> Iterator[Transcript | Skipped]:
    # One more than is opened, so that a cut is noticed. A chat without an answer is read up to where the answer begins.
    options = SourceOptions(_SUITE, Arm.MONITOR, limit=_MOST_TRANSCRIPTS + 1, prompts=True)
    return read_source(path, options, reader)


def open_bytes(data: bytes, name: str, reader: str = "") -> Opened:
    """The transcripts of a file that a page sent.

    Args:
        data: Its content.
        name: Its name, which goes into ids and messages. It is never used as a path.
        reader: As for `open_file`.

    Raises:
        InputError: It is too large, no reader knows it, or nothing in it is usable.
    """
    if len(data) > MOST_BYTES:
        raise InputError(
            f"it has {len(data) / 1e6:,.0f} MB, a page may send {MOST_BYTES / 1e6:,.0f}; "
            "give a larger file on the command line: nla-eval explore FILE"
        )
    with tempfile.TemporaryDirectory(prefix="nla-explore-") as folder:
        path = Path(folder) / _file_name(name)
        path.write_bytes(data)
        return open_file(path, reader)


def open_pasted(text: str) -> Opened:
    """The transcripts of pasted text: JSON that the readers know, or turns that begin with "User:" or "Assistant:".

    Raises:
        InputError: It is neither.
    """
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written to a file
    if not text.strip():
        raise InputError(f"nothing was pasted; expected a chat: {_EXPECTED}")
    if text.lstrip()[0] in "[{":
        try:
            return open_bytes(text.encode(), "pasted.json")
        except InputError:
            if not _TURN.search(text):
                raise
    turns = list(_turns(text))
    if not turns:
        raise InputError(f"no chat in the text, which begins '{one_line(text, 60)}'; expected turns: {_EXPECTED}")
    return open_bytes(json.dumps(turns).encode(), "pasted.json", "messages")


def _turns(text: str) -> Iterator[dict[str, str]]:
    """Messages of a chat in plain words. Text before the first role is none of them."""
    marks = list(_TURN.finditer(text))
    for mark, following in zip_longest(marks, marks[1:]):
        end = len(text) if following is None else following.start()
        role = mark[1].lower()
        yield {"role": _ROLES.get(role, role), "content": text[mark.end() : end].strip()}


def _file_name(name: str) -> str:
    """A file's name without anything that could lead out of a folder."""
    safe = re.sub(r"[^\w.-]+", "_", re.split(r"[/\\]", name)[-1])[-80:].lstrip(".")
    return safe or "chat"
