"""The shape of a long JSON text in few bytes: long strings are cut, long lists and objects keep their first members.

In: pieces of a file. Out: JSON where the input is JSON. Held in memory: one piece and what comes out, however large a
string or a record is. It knows no format."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 512
"""Characters, or escapes, that are kept of a string."""
_HELD = 12 * _LONGEST
"""Bytes that this many characters take at most: an escaped pair of surrogates has twelve."""
_ITEMS, _KEYS = 20, 200
"""Members that are kept of a list and of an object below the records. No format is told by a later one."""
_START = re.compile(rb"(?:[^\\]|\\u[0-9a-fA-F]{4}|\\[^u]){0,%d}" % _LONGEST, re.DOTALL)
_BODY = re.compile(rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+', re.DOTALL)
"""The inside of a string, up to its end or to the end of what was read. No string of JSON holds a line break."""
_BETWEEN = re.compile(rb'[^"\[\]{},]++')
_PASSED = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)
"""What may be passed over without a look at each comma: no bracket, and whole strings."""
_QUOTE, _COMMA, _LIST, _OBJECT, _CLOSING = *b'",[{', frozenset(b"]}")


def skimmed(pieces: Iterable[bytes], size: int, records: int) -> bytes:
    """The shape of a text, until there is enough of it or the text ends.

    Args:
        pieces: Of the text. As many are taken as are needed.
        size: Bytes to make of it, give or take one string.
        records: Records that are enough: objects or lists in a row, or in one list around them.
    """
    skim = _Skim(size)
    for piece in pieces:
        skim.take(piece)
        if len(skim.made) >= size or skim.records >= records:
            break
    return bytes(skim.made)


class _Skim:
    """What has been made of the pieces so far."""

    def __init__(self, size: int) -> None:
        self.made = bytearray()
        self.records = 0
        """Records that have ended."""
        self._size = size
        self._open: list[int] = []
        """The brackets that are open, outermost first."""
        self._commas: list[int] = []
        """Commas in each of them."""
        self._passed: int | None = None
        """Brackets that are open inside a part that is passed over; None where nothing is."""
        self._string: bytearray | None = None
        """The start of the string that is open; None outside strings."""
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Go on with the next piece. What is beyond the size is not looked at."""
        data, at = self._rest + piece, 0
        self._rest = b""
        while at < len(data) and len(self.made) < self._size:
            if self._string is not None:
                at = self._in_string(data, at)
            elif self._passed is not None:
                at = self._pass_over(data, at)
            else:
                at = self._token(data, at)

    def _in_string(self, data: bytes, at: int) -> int:
        assert self._string is not None
        found = _BODY.match(data, at)
        end = found.end() if found else at
        room = 0 if self._passed is not None else _HELD - len(self._string)
        self._string += data[at : min(end, at + max(0, room))]
        if end == len(data):
            return end
        if data[end] == ord("\\"):  # half of an escape
            self._rest = data[end:]
            return len(data)
        closed = data[end] == _QUOTE
        if self._passed is None:
            self.made += b'"' + _cut(bytes(self._string)) + (b'"' if closed else b"")
        self._string = None
        return end + closed

    def _pass_over(self, data: bytes, at: int) -> int:
        assert self._passed is not None
        found = _PASSED.match(data, at)
        at = found.end() if found else at
        if at == len(data):
            return at
        if data[at] == _QUOTE:
            self._string = bytearray()
        elif data[at] not in _CLOSING:
            self._passed += 1
        elif self._passed:
            self._passed -= 1
        else:
            self._passed = None
            return at  # the bracket that closes the long list is kept
        return at + 1

    def _token(self, data: bytes, at: int) -> int:
        between = _BETWEEN.match(data, at)
        if between:
            self.made += between.group()
            return between.end()
        char = data[at]
        if char == _QUOTE:
            self._string = bytearray()
            return at + 1
        if char in (_LIST, _OBJECT):
            self._open.append(char)
            self._commas.append(0)
        elif char in _CLOSING and self._open:
            self._open.pop()
            self._commas.pop()
            self.records += not self._open or self._open == [_LIST]
        elif char == _COMMA and self._is_long():
            self._passed = 0
            return at + 1
        self.made.append(char)
        return at + 1

    def _is_long(self) -> bool:
        """Count a comma, and say whether what it is in has members enough. A list around the records never has."""
        if not self._open or self._open == [_LIST]:
            return False
        self._commas[-1] += 1
        return self._commas[-1] >= (_ITEMS if self._open[-1] == _LIST else _KEYS)


def _cut(text: bytes) -> bytes:
    """The start of a string's inside. It ends in no half of a character and no half of an escape."""
    if len(text) <= _LONGEST:
        return text
    found = _START.match(text)
    return found.group().decode("utf-8", "ignore").encode() if found else b""
