"""Records of a JSON file, one at a time and never the file as a whole: lines, one list, or objects in a row; gzip too.

Out come decoded values with their place; a record that cannot be decoded is a `Skipped` row. In lines the reading goes
on after damage; in a list it cannot, because nothing says where the next record begins. A record that is too large is
passed over in both."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import msgspec

from ..errors import InputError
from ._base import Record, Skipped, SourceOptions
from ._probe import Container, probe

GZIP_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged gzip file raises."""
_CHUNK = 1 << 16
_BUFFER = 1 << 18
_NEAR_END = 16
"""A decoding error this close to the end of what was read may be a value cut in two; "-Infinity" has 9 characters."""
_decode = msgspec.json.Decoder().decode
_BLANK = " \t\r\n"
_MARKS = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
"""What tells where a value ends: escapes, quotes and brackets."""


class CharReader(Protocol):
    """What text is read from."""

    def read(self, size: int, /) -> str:
        """At most `size` characters; empty at the end."""


def json_records(path: Path, options: SourceOptions) -> Iterator[Record | Skipped]:
    """Every record of the file, in order.

    Raises:
        InputError: text that is not UTF-8 as a whole.
    """
    container = probe(path).container
    if container is Container.WIDE:
        raise InputError(f"{path.name}: {container}; convert it, such as with: iconv -f UTF-16 -t UTF-8")
    with opened(path) as file:
        try:
            if container in (Container.LIST, Container.OBJECT):
                with json_text(file, options.max_record_bytes) as values:
                    yield from _stream(values, path.name, options)
            else:
                yield from _lines(file, path.name, options)
        except GZIP_DAMAGE as error:
            yield Skipped(path.name, f"damaged gzip, read up to the damage: {error}")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is gzip."""
    with path.open("rb", buffering=_BUFFER) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if packed:
            with gzip.open(raw) as file:
                yield cast("IO[bytes]", file)
        else:
            yield raw


@contextmanager
def json_text(file: IO[bytes], limit: int) -> Iterator[JsonText]:
    """The values of a file in UTF-8. What is not becomes lone surrogates, which make_transcript refuses one by one.

    Args:
        file: It stays open.
        limit: `JsonText`'s.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield JsonText(text, limit)
    finally:
        text.detach()


def _lines(file: IO[bytes], name: str, options: SourceOptions) -> Iterator[Record | Skipped]:
    limit, number = options.max_record_bytes, 0
    while line := file.readline(limit + 1):
        number += 1
        where = f"{name} line {number}"
        if len(line) > limit and not line.endswith(b"\n"):
            while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            yield Skipped(where, _too_large(options))
        elif not line.isspace():
            yield _decoded(line, where, number)


def _decoded(line: bytes, where: str, number: int) -> Record | Skipped:
    try:
        return Record(where, _decode(line), number)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decoded_by_python(line, where, number)


def _decoded_by_python(line: bytes, where: str, number: int) -> Record | Skipped:
    """What msgspec refuses: NaN, half surrogate pairs, a byte order mark; and for the rest the reason."""
    try:
        return Record(where, json.loads(line.removeprefix(b"\xef\xbb\xbf").decode()), number)
    except UnicodeDecodeError:
        return Skipped(where, "not UTF-8")
    except RecursionError:
        return Skipped(where, "nested too deeply")
    except json.JSONDecodeError as error:
        return Skipped(where, f"not JSON: {error.msg} at column {error.colno}")
    except ValueError:
        return Skipped(where, "a number of more digits than Python reads")


def _stream(values: JsonText, name: str, options: SourceOptions) -> Iterator[Record | Skipped]:
    number = 0
    try:
        listed = values.take("[")
        while not values.ended and not (listed and values.take("]")):
            number += 1
            where = f"{name} record {number}"
            try:
                yield Record(where, values.value(), number)
            except OversizeError:
                values.pass_over()
                yield Skipped(where, _too_large(options))
            values.take(",")
        if listed and not values.closed:
            yield Skipped(name, "the file ends inside its list")
        elif not values.ended:
            yield Skipped(name, "what follows the list is not read")
    except JsonDamageError as damage:
        yield Skipped(f"{name} record {number}", str(damage))


class JsonDamageError(ValueError):
    """Why decoding stops here."""


class OversizeError(JsonDamageError):
    """The next value is larger than the limit; `JsonText.pass_over` steps over it."""


class JsonText:
    """Decodes JSON values one after another from text that is read in pieces.

    Args:
        file: Where the text comes from.
        limit: Characters after which a value that is not finished is given up.
    """

    def __init__(self, file: CharReader, limit: int) -> None:
        self._file, self._limit = file, limit
        self._decoder = json.JSONDecoder()
        self._buffer, self._at, self._drained = "", 0, False
        self._before = 0
        self.closed = False
        """Whether a closing bracket was taken."""

    @property
    def ended(self) -> bool:
        """Whether nothing but blanks is left."""
        return not self._peek()

    @property
    def taken(self) -> int:
        """Characters that have been read and stepped over."""
        return self._before + self._at

    def take(self, char: str) -> bool:
        """Step over `char` if it comes next."""
        if self._peek() != char:
            return False
        self._at += 1
        self.closed = self.closed or char in "]}"
        return True

    def value(self) -> Any:
        """The next value. Raises JsonDamageError, of which OversizeError leaves the value where it is."""
        self._peek()
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise JsonDamageError("nested too deeply; the rest is not read") from None
            except json.JSONDecodeError as error:
                self._more_or_damage(error)
            except ValueError:
                raise JsonDamageError("a number of more digits than Python reads; the rest is not read") from None
            else:
                return value

    def _more_or_damage(self, error: json.JSONDecodeError) -> None:
        if self._drained:
            raise JsonDamageError("the file ends inside this record, or it is not JSON")
        cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - _NEAR_END
        if not cut:
            raise JsonDamageError(f"not JSON: {error.msg}; the rest is not read")
        if len(self._buffer) - self._at > self._limit:
            raise OversizeError(f"over {self._limit / 1e6:.0f} MB; the rest is not read")
        self._fill()

    def pass_over(self) -> None:
        """Step over the next value, a string, list or object, without decoding it.

        Raises:
            JsonDamageError: the file ends inside it.
        """
        depth, quoted, began = 0, False, False
        while self._peek():
            held = self._at
            for mark in _MARKS.finditer(self._buffer, self._at):
                held, char = mark.end(), mark[0]
                if char == '"':
                    quoted = not quoted
                elif not quoted and char in "[]{}":
                    depth += 1 if char in "[{" else -1
                began = began or quoted or depth > 0
                if began and not quoted and depth <= 0:
                    self._at = held
                    return
            # A backslash at the very end is half of an escape.
            self._at = len(self._buffer) - (self._buffer.endswith("\\") and held < len(self._buffer))
            self._fill()
            if self._drained:
                break
        raise JsonDamageError("the file ends inside this record, or it is not JSON")

    def _peek(self) -> str:
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if self._drained:
                return ""
            self._fill()

    def _fill(self) -> None:
        """Read as much again as is waiting, so that a long value is tried a few times only."""
        waiting = self._buffer[self._at :]
        self._before += self._at
        more = self._file.read(max(_CHUNK, len(waiting)))
        self._drained = not more
        self._buffer, self._at = waiting + more, 0


def _too_large(options: SourceOptions) -> str:
    return f"over {options.max_record_mb} MB; the limit is max_record_mb"
