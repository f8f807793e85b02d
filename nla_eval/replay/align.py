"""Finds the characters that a chat template wrote for each piece of a transcript. The template needs no marks.

Each piece is rendered again with short marks inside it. If removing the marks gives the plain render, the template
treated the marked text like the real text, and the marks show where the piece is. A piece whose marks are missing was
dropped. A piece that can be followed only in part was trimmed, escaped or rewritten. This module knows nothing of
tokens."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import TemplateError
from .template import Piece, Plan
from .types import Channel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAX_RENDERS = 96
"""Largest number of renders spent on finding pieces that the template treats differently when marked."""


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of the rendered text that belong to one piece, or to a part of it."""

    start: int
    end: int
    piece: Piece


@dataclass(frozen=True)
class Alignment:
    """The places of a plan's pieces in its plain render."""

    text: str
    spans: tuple[Span, ...]
    """Ascending, without overlaps. Empty pieces have start == end, if they could be placed."""
    notes: tuple[str, ...]
    lost: tuple[Piece, ...]
    """Non-empty pieces that the template dropped, or rewrote so that they cannot be found."""
    unfollowed: tuple[Piece, ...]
    """Pieces that may have characters outside their spans, because the template rewrote them."""


def align(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> Alignment:
    """Render `plan` and find its pieces. Raises TemplateError if the template refuses the messages."""
    text = plan.render(tokenizer)
    search = _Search(plan, tokenizer, text)
    found = search.marked_pieces()
    found += search.argument_pieces(found)
    spans = _disjoint(found)
    notes: dict[str, None] = dict.fromkeys(search.notes)
    present = {span.piece.index for span in spans}
    lost = tuple(p for p in plan.pieces if p.index not in present and p.value.strip() and p.arguments != {})
    for piece in lost:
        notes["unaligned" if piece.index in search.unaligned else f"{piece.channel.label}_dropped"] = None
    unfollowed = tuple(p for p in plan.pieces if p.index in search.unaligned | search.rewritten)
    return Alignment(text, spans, tuple(notes), lost, unfollowed)


class _Search:
    def __init__(self, plan: Plan, tokenizer: PreTrainedTokenizerBase, text: str) -> None:
        self._plan, self._tokenizer, self._text = plan, tokenizer, text
        self._renders = 0
        self.notes: dict[str, None] = {}
        self.rewritten: set[int] = set()
        self.unaligned: set[int] = set()
        """Pieces that could not be placed, because the template treats them differently when marked."""
        corpus = text + "".join(piece.value for piece in plan.pieces)
        self._nonce = next(word for word in (f"zq{n}x" for n in range(10**6)) if word not in corpus)
        self._pattern = re.compile(self._nonce + r"(\d+)x(\d+)qz")
        self._value = self._after_trimming()

    def marked_pieces(self) -> list[Span]:
        """Spans of every piece that the template gets as a string. Empty pieces only if they can be placed."""
        named = [p for p in self._plan.pieces if p.arguments is None]
        spans: list[Span] = []
        groups = [[p for p in named if p.value]]
        while groups:
            group = groups.pop()
            located = self._locate(group, _thirds) if self._renders < _MAX_RENDERS else None
            if located is None and len(group) == 1:
                located = self._locate_alone(group)
            if located is not None:
                spans += located
            elif len(group) == 1 or self._renders >= _MAX_RENDERS:
                self.unaligned |= {piece.index for piece in group}
            else:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
        empty = [p for p in named if not p.value]
        return spans + (self._locate(empty, _thirds) or [] if empty else [])

    def argument_pieces(self, found: Sequence[Span]) -> list[Span]:
        """Spans of tool-call arguments that the template spelled itself. The search starts after the call's name."""
        starts = sorted(span.start for span in found)
        spans: list[Span] = []
        names = {span.piece.index: span for span in found if span.piece.channel is Channel.TOOL_CALL}
        for piece in self._plan.pieces:
            name = names.get(piece.index - 1)
            if piece.arguments is None or name is None:
                continue
            stop = next((start for start in starts if start >= name.end and start > name.start), len(self._text))
            where = _find_arguments(self._text, name.end, stop, piece.arguments)
            if where is not None:
                spans.append(Span(*where, piece))
        return spans

    def _after_trimming(self) -> dict[int, str]:
        """Value of each piece without the outer whitespace that the template ignores.

        Without this, a trimmed "a\\n" before a literal newline would claim the template's newline.
        """
        value = {p.index: p.value for p in self._plan.pieces}
        for channel in Channel:
            edged = [p for p in self._plan.pieces if p.channel is channel and p.value != p.value.strip()]
            for strip in (str.strip, _strip_newlines) if edged else ():
                if any(strip(p.value) != p.value for p in edged) and self._same_without(edged, strip):
                    value |= {p.index: strip(p.value) for p in edged}
                    self.notes["trimmed"] = None
                    break
        return value

    def _same_without(self, edged: list[Piece], strip: Callable[[str], str]) -> bool:
        stripped = {p.index: strip(p.value) for p in edged}
        return self._render(lambda piece: stripped.get(piece.index, piece.value)) == self._text

    def _render(self, fill: Callable[[Piece], str]) -> str | None:
        self._renders += 1
        try:
            return self._plan.render(self._tokenizer, fill)
        except TemplateError:
            return None

    def _locate_alone(self, group: list[Piece]) -> list[Span] | None:
        for cuts in (_middle, _first, _last):
            located = self._locate(group, cuts)
            if located is not None:
                return located
        return None

    def _locate(self, group: Sequence[Piece], cuts: Callable[[str], list[int]]) -> list[Span] | None:
        """Spans of `group`; None if marking it changes the text around it."""
        if not group:
            return []
        marked = {p.index: self._with_marks(p, cuts(p.value)) for p in group}
        rendered = self._render(lambda piece: marked.get(piece.index, piece.value))
        if rendered is None or self._pattern.sub("", rendered) != self._text:
            return None
        by_index = {p.index: p for p in group}
        spans, removed = [], 0
        for mark in self._pattern.finditer(rendered):
            piece, cut = by_index[int(mark[1])], int(mark[2])
            spans.append(self._grow(piece, cut, mark.start() - removed))
            removed += len(mark[0])
        return spans

    def _with_marks(self, piece: Piece, cuts: list[int]) -> str:
        edges = [0, *cuts, len(piece.value)]
        out = [piece.value[edges[0] : edges[1]]]
        for cut, following in itertools.pairwise(edges[1:]):
            out += [f"{self._nonce}{piece.index}x{cut}qz", piece.value[cut:following]]
        return "".join(out)

    def _grow(self, piece: Piece, cut: int, anchor: int) -> Span:
        """The characters around `anchor` that agree with the value around `cut`, in the spelling with the longest
        match."""
        value = self._value[piece.index]
        cut -= piece.value.find(value) if value else cut
        best = Span(anchor, anchor, piece)
        spelled: str | None = None
        for name, spell in _SPELLINGS.items():
            before, after = spell(value[:cut]), spell(value[cut:])
            left = _common_suffix(before, self._text, anchor)
            right = _common_prefix(after, self._text, anchor)
            if spelled is None or left + right > best.end - best.start:
                best, spelled = Span(anchor - left, anchor + right, piece), name
            if left + right == len(before) + len(after):
                break
        wanted, found = _SPELLINGS[spelled or "plain"](value), self._text[best.start : best.end]
        if found == wanted:
            self.notes |= {"escaped": None} if spelled != "plain" else {}
        elif found.strip() == wanted.strip():
            self.notes["trimmed"] = None
        else:
            self.notes["rewritten"] = None
            self.rewritten.add(piece.index)
        return best


def _json_inside(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _json_ascii_inside(value: str) -> str:
    return json.dumps(value)[1:-1]


def _plain(value: str) -> str:
    return value


_SPELLINGS: dict[str, Callable[[str], str]] = {"plain": _plain, "json": _json_inside, "json_ascii": _json_ascii_inside}


def _strip_newlines(value: str) -> str:
    return value.strip("\n")


def _core(value: str) -> tuple[int, int]:
    """Start and end of the value without its outer whitespace. Marks inside survive trimming."""
    if not value.strip():
        return 0, len(value)
    start = len(value) - len(value.lstrip())
    return start, len(value.rstrip())


def _thirds(value: str) -> list[int]:
    start, end = _core(value)
    return sorted({start + (end - start) // 3, start + 2 * (end - start) // 3})


def _middle(value: str) -> list[int]:
    start, end = _core(value)
    return [(start + end) // 2]


def _first(value: str) -> list[int]:
    return [min(_core(value)[0] + 1, len(value))]


def _last(value: str) -> list[int]:
    return [max(_core(value)[1] - 1, 0)]


def _common_prefix(value: str, text: str, start: int) -> int:
    """Length of the longest prefix of `value` that `text` has at `start`, found by bisection on slices."""
    if text.startswith(value, start):
        return len(value)
    low, high = 0, len(value)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if text.startswith(value[:middle], start) else (low, middle)
    return low


def _common_suffix(value: str, text: str, end: int) -> int:
    """Length of the longest suffix of `value` that `text` has just before `end`."""
    if text.endswith(value, 0, end):
        return len(value)
    low, high = 0, len(value)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if text.endswith(value[-middle:], 0, end) else (low, middle)
    return low


def _find_arguments(text: str, start: int, stop: int, arguments: dict[str, Any]) -> tuple[int, int] | None:
    for spelling in _argument_spellings(arguments):
        at = text.find(spelling, start, stop)
        if at >= 0:
            return at, at + len(spelling)
    return _find_keys_and_values(text, start, stop, arguments)


def _argument_spellings(arguments: dict[str, Any]) -> Iterator[str]:
    for ensure_ascii in (False, True):
        plain = json.dumps(arguments, ensure_ascii=ensure_ascii, default=str)
        yield plain
        yield json.dumps(arguments, ensure_ascii=ensure_ascii, default=str, separators=(",", ":"))
        yield json.dumps(arguments, ensure_ascii=ensure_ascii, default=str, sort_keys=True)
        for indent in (2, 4):
            yield json.dumps(arguments, ensure_ascii=ensure_ascii, default=str, indent=indent)
        yield json.dumps(plain, ensure_ascii=ensure_ascii)[1:-1]
    yield str(arguments)


def _find_keys_and_values(text: str, start: int, stop: int, arguments: dict[str, Any]) -> tuple[int, int] | None:
    """Span of arguments written one by one, as in `<parameter=key>value</parameter>`, from the first key to the last
    value."""
    at, first = start, None
    for key, value in arguments.items():
        where = text.find(key, at, stop)
        if where < 0:
            return None
        first = where if first is None else first
        at = where + len(key)
        texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), str(value)]
        hits = [(text.find(word, at, stop), len(word)) for word in texts]
        hit = next(((where, length) for where, length in hits if where >= 0), None)
        if hit is None:
            return None
        at = sum(hit)
    return None if first is None else (first, at)


def _disjoint(spans: list[Span]) -> tuple[Span, ...]:
    """Sort spans, join touching spans of one piece, and cut what overlaps an earlier span."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        last = out[-1] if out else None
        if last is not None and last.piece is span.piece and span.start <= last.end:
            out[-1] = replace(last, end=max(last.end, span.end))
        elif last is None or span.start >= last.end:
            out.append(span)
        elif span.end > last.end:
            out.append(replace(span, start=last.end))
    return tuple(out)
