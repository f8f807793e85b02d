"""Which reader a place is for, by its content. One reader, or one clear error: nothing is guessed from a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..printable import one_line
from ._base import Item, SourceOptions
from ._chat import chat_columns
from ._probe import Container, probe
from ._source import SOURCES, Place, Source, files_below
from .hub import SCHEME

_DEEPEST = 3
"""Objects inside each other in which messages are looked for, to name their key."""
_LOOKED_AT = 200
"""Files of a folder that are looked at before its reader is chosen; each is looked at again when it is read."""


def read(where: Place, options: SourceOptions, reader: str = "") -> Iterator[Item]:
    """Transcripts and skipped rows of a place, lazily.

    Args:
        where: A file, a folder, or `hf://owner/name@revision`.
        options: What the place itself does not say.
        reader: Name of the reader; found by content where empty.

    Raises:
        InputError: no reader fits, or two do; nothing there; not one usable transcript.
    """
    return (SOURCES.get(reader) if reader else source_of(where, options.messages_key))(where, options)


def source_of(where: Place, messages_key: str | None = None) -> Source:
    """The reader whose format a place has.

    Args:
        where: A file, a folder or a URL.
        messages_key: Where records hold their messages: with it, any JSON or Parquet file that has the key will do.

    Raises:
        InputError: no reader fits, or more than one does.
    """
    if isinstance(where, str) and "://" in where:
        if where.startswith(SCHEME):
            return SOURCES.get("hub")
        raise InputError(f"'{where}': of URLs only {SCHEME}owner/name is read; copy the file here")
    path = Path(where)
    if not path.exists():
        raise InputError(f"no file or folder '{path.name or where}'; give one, or {SCHEME}owner/name of the hub")
    if path.is_file():
        return _of_file(path, messages_key)
    found: Counter[str] = Counter()
    example: dict[str, str] = {}
    for file in files_below(path)[:_LOOKED_AT]:
        try:
            name = _of_file(file, messages_key).name
        except InputError:
            continue
        found[name] += 1
        example.setdefault(name, file.name)
    if len(found) > 1:
        held = ", ".join(f"{count} of {name} (such as {example[name]})" for name, count in found.items())
        raise InputError(f"'{path.name}' holds files of several formats: {held}; name one reader, or give one file")
    if not found:
        raise InputError(f"'{path.name}': no file in this folder has a known format; known: {', '.join(SOURCES)}")
    return SOURCES.get(next(iter(found)))


def _of_file(path: Path, messages_key: str | None) -> Source:
    look = probe(path)
    fitting = [SOURCES.get(name) for name in SOURCES if SOURCES.get(name).fits(look)]
    close = [source for source in fitting if not source.generic] or fitting
    if len(close) > 1:
        raise InputError(f"'{path.name}' fits the readers {' and '.join(s.name for s in close)}; name one")
    if close:
        return close[0]
    if messages_key is not None and messages_key.split(".")[0] in look.columns:
        return SOURCES.get("parquet" if look.container is Container.PARQUET else "jsonl")
    if look.container is Container.EMPTY:
        raise InputError(f"'{path.name}' is an empty file")
    keys = f": its keys are {', '.join(sorted(look.columns)[:8])}" if look.columns else ""
    mend = "; one of them may hold the messages (messages_key)" if look.columns else ""
    if inner := next(_inner_chats(look.first), None):
        mend = f"; messages stand at '{one_line(inner)}': --messages-key {one_line(inner)}"
    known = f"readers: {', '.join(SOURCES)}"
    raise InputError(f"'{path.name}' is {look.container}{one_line(keys)}; no reader knows it{mend}; {known}")


def _inner_chats(record: Mapping[str, Any], below: str = "") -> Iterator[str]:
    """Dotted keys of objects in a record under which lists of messages stand."""
    for key, value in record.items():
        if isinstance(value, Mapping) and below.count(".") < _DEEPEST:
            yield from (f"{below}{key}.{found}" for found in chat_columns(value))
            yield from _inner_chats(value, f"{below}{key}.")
