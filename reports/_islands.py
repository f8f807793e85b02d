"""The transcripts of a report as JSON islands: one for the list, one for each transcript, for the page's script.

Texts are cut into pieces here (read tokens, spans that say so, what is left out), control and bidirectional characters
are made visible, and every character that could end a script element or a line is escaped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from nla_eval.judgement import Evidence, Outcome
from nla_eval.tally.browsed import (
    Browse,
    BrowsedMessage,
    BrowsedPart,
    BrowsedPosition,
    BrowsedReading,
    BrowsedTranscript,
    LoggedSample,
)
from nla_eval.tally.viewer import sample_address

from ._format import visible

BUDGET = 3_000_000
"""Characters of messages in one report."""
_CAPS = (200_000, 40_000, 16_000, 8_000, 4_000, 2_000, 1_000)
"""Longest text of one part; the first that fits the budget is taken."""
_AROUND = 400
"""Characters kept on each side of a read token in a text that is cut."""
_MESSAGES = 300
"""A transcript shows at most so many messages, and every one that holds a read token or says so."""
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}

Piece = str | dict[str, Any]
"""A text; or {"t": text} with "p" (index of a read token) or "s" (a span that says so); or {"gap": characters}."""


def islands(found: Browse) -> tuple[str, list[tuple[str, str]]]:
    """The list, and (key, transcript) for each transcript, as JSON that is safe inside a script element."""
    keys = transcript_keys(found.transcripts)
    cap = _cap(found.transcripts)
    listed = [_entry(key, t) for key, t in zip(keys, found.transcripts, strict=True)]
    index = {"all": len(listed) == found.total, "list": listed}
    made = zip(keys, found.transcripts, strict=True)
    return dumped(index), [(k, dumped(_transcript(t, cap, found.viewer))) for k, t in made]


def transcript_keys(transcripts: Sequence[BrowsedTranscript]) -> list[str]:
    """A short key for each transcript, for permalinks: the first digits of its digest, numbered if it occurs twice."""
    seen: Counter[str] = Counter()
    keys = []
    for transcript in transcripts:
        short = "".join(c for c in transcript.digest if c.isalnum())[:10] or "t"
        seen[short] += 1
        keys.append(short if seen[short] == 1 else f"{short}-{seen[short]}")
    return keys


def dumped(value: Mapping[str, Any]) -> str:
    """JSON in which no text can end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _entry(key: str, t: BrowsedTranscript) -> dict[str, Any]:
    scale = max(1, t.tokens, *(p.position + 1 for p in t.positions)) if t.positions else 1
    return {
        "k": key,
        "id": visible(t.id),
        "suite": visible(t.suite),
        "arm": visible(t.arm),
        "family": visible(t.family),
        "variant": visible(t.variant),
        "result": visible(t.result),
        "n": t.measured,
        "v": t.said,
        "why": t.why.value,
        "aware": t.aware,
        "judged": t.judged,
        "strip": [[round(1000 * p.position / scale), _mark(p)] for p in t.positions],
    }


def _mark(position: BrowsedPosition) -> int:
    """2 for an aware position, 1 for one that only a control lane flags, 0 for another."""
    if position.outcome is Outcome.AWARE:
        return 2
    return int(any(r.outcome is Outcome.AWARE for r in position.readings))


def _transcript(t: BrowsedTranscript, cap: int, viewer: str) -> dict[str, Any]:
    held = {p.message for p in t.positions} | {m.index for m in t.messages if any(part.said for part in m.parts)}
    shown = _some(t.messages, held)
    made: dict[str, Any] = {} if t.sample is None else {"inspect": _sample(t.sample, viewer)}
    return made | {
        "messages": [m if isinstance(m, dict) else _message(m, t.positions, cap) for m in shown],
        "positions": [_position(p) for p in t.positions],
    }


def _sample(sample: LoggedSample, viewer: str) -> list[str]:
    """Where a transcript stands in Inspect: in words; and its address, if a viewer is named."""
    words = visible(f"sample {sample.id}, epoch {sample.epoch} of {sample.log}")
    return [words, sample_address(viewer, sample)] if viewer else [words]


def _some(messages: Sequence[BrowsedMessage], held: set[int]) -> Iterator[BrowsedMessage | dict[str, Any]]:
    """The first and last messages and those that must be shown; a count where messages are left out."""
    ends = {m.index for m in (*messages[: _MESSAGES // 2], *messages[-_MESSAGES // 2 :])}
    left = 0
    for message in messages:
        if message.index in held or message.index in ends:
            if left:
                yield {"left": left}
            left = 0
            yield message
        else:
            left += 1
    if left:
        yield {"left": left}


def _message(message: BrowsedMessage, positions: Sequence[BrowsedPosition], cap: int) -> dict[str, Any]:
    here = [(i, p) for i, p in enumerate(positions) if p.message == message.index]
    parts = []
    for index, part in enumerate(message.parts):
        tokens = [(p.start, p.end, i) for i, p in here if p.part == index]
        parts.append(_part(part, tokens, cap))
    return {
        "i": message.index,
        "role": visible(message.role),
        "author": message.author,
        "note": visible(message.note),
        "parts": parts,
        "loose": [i for i, p in here if p.part is None],
    }


def _part(part: BrowsedPart, tokens: Sequence[tuple[int, int, int]], cap: int) -> dict[str, Any]:
    said = list(spans(part.text, part.said))
    made: dict[str, Any] = {"kind": part.kind, "text": list(_pieces(part.text, tokens, said, cap))}
    if part.outcome is not None:
        made |= {"out": part.outcome.value, "labels": list(part.labels), "why": visible(part.reason)}
    if part.said and not said:
        made["quote"] = [visible(e.text) for e in part.said]
    return made


def _position(p: BrowsedPosition) -> dict[str, Any]:
    return {
        "p": p.position,
        "token": visible(p.token),
        "context": visible(p.context) if p.part is None else "",
        "channel": p.channel,
        "turn": p.turn,
        "message": p.message,
        "out": p.outcome.value,
        "mark": _mark(p),
        "readings": [_reading(r) for r in p.readings],
    }


def _reading(r: BrowsedReading) -> dict[str, Any]:
    made: dict[str, Any] = {
        "lane": r.lane,
        "draw": r.draw,
        "out": r.outcome.value,
        "text": list(_pieces(r.explanation, [], list(spans(r.explanation, r.evidence)), _CAPS[0])),
        "labels": [label for label in r.labels if label != "none"],
    }
    if r.headlines:
        made["heads"] = [h.value for h in r.headlines]
    if r.score is not None:
        made["score"] = round(r.score, 3)
    if r.cos is not None:
        made["cos"] = round(r.cos, 3)
    if r.ar_percentile is not None:
        made["pct"] = round(r.ar_percentile)
    made |= {name: visible(text) for name, text in (("why", r.reason), ("donor", r.donor)) if text}
    return made


def spans(text: str, evidence: Iterable[Evidence]) -> Iterator[tuple[int, int]]:
    """Spans of evidence in its text; searched for if the offsets do not fit, left out if it is not there."""
    for e in evidence:
        start = e.start if text[e.start : e.end] == e.text else text.find(e.text)
        if e.text and start >= 0:
            yield start, start + len(e.text)


def _pieces(
    text: str, tokens: Sequence[tuple[int, int, int]], said: Sequence[tuple[int, int]], cap: int
) -> Iterator[Piece]:
    """Pieces in order; together they are the text, apart from gaps."""
    kept = _kept(len(text), [*((s, e) for s, e, _ in tokens), *said], cap)
    cuts = {0, len(text)}
    for start, end in (*((s, e) for s, e, _ in tokens), *said, *kept):
        cuts |= {start, end}
    places = sorted(c for c in cuts if 0 <= c <= len(text))
    for start, end in pairwise(places):
        if not any(a <= start < b for a, b in kept):
            yield {"gap": end - start}
            continue
        piece: dict[str, Any] = {}
        token = next((i for s, e, i in tokens if s <= start < e), None)
        if token is not None:
            piece["p"] = token
        if any(s <= start < e for s, e in said):
            piece["s"] = 1
        shown = visible(text[start:end])
        yield {"t": shown, **piece} if piece else shown


def _kept(length: int, must: Sequence[tuple[int, int]], cap: int) -> list[tuple[int, int]]:
    """What is shown of a text: all of it up to `cap`; else its ends and the surroundings of what must be shown."""
    if length <= cap:
        return [(0, length)]
    wanted = [(0, 2 * cap // 3), (length - cap // 3, length)]
    wanted += [(max(0, start - _AROUND), min(length, end + _AROUND)) for start, end in must]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(wanted):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _cap(transcripts: Sequence[BrowsedTranscript]) -> int:
    """The longest part that lets all transcripts fit the budget."""
    lengths = [len(part.text) for t in transcripts for m in t.messages for part in m.parts]
    return next((cap for cap in _CAPS if sum(min(n, cap) for n in lengths) <= BUDGET), _CAPS[-1])
