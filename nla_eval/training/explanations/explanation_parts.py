"""The parts of a self-supervised explanation, and how a format arranges them in lines. In: a `Moment` and a
`Vocabulary`. Out: text, or its pieces, so that a trial can leave one out.

Each part says one thing: who speaks, what the conversation is about, what was just written, what the target expects. A
part uses the text up to the position, the target's next-token predictions there and its own greedy continuation. It
sees no label and no later text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ...errors import InputError
from ...measure.claims import form_of
from ...measure.shown_tokens import is_mark, messages_of, with_named_marks, without_marks
from ...measure.stop_words import stop_words
from ...registry import Registry
from .explain import WORD, Moment, Vocabulary, expected, now

_LEFT_OUT = frozenset({"http", "https", "html", "www", "com", "like", "just"})
_SPEC = re.compile(r"\s*([a-z_]+)\s*(?:\(\s*(\d+)\s*\))?\s*")


@dataclass
class Writing:
    """State of an explanation while it is built."""

    moment: Moment
    vocabulary: Vocabulary
    taken: set[str] = field(default_factory=set)
    """Words (lower case) that the explanation already contains; they are not repeated as themes."""

    @cached_property
    def messages(self) -> list[tuple[str, str]]:
        """(role, words) of each message up to the position."""
        return messages_of(self.moment.text)


@dataclass(frozen=True)
class Part:
    """One thing an explanation can say."""

    say: Callable[[Writing, int], str]
    """(writing, size or 0) -> the part's text; empty if it has nothing to say."""
    sized: bool
    """Whether it takes a size: `name(n)`."""
    label: str = ""
    """Printed before the part, with a colon. A part without a label is joined to its neighbours by a comma."""


PARTS: Registry[Part] = Registry("part of an explanation")


@dataclass(frozen=True)
class Chosen:
    """A part with its size. `str()` gives its form in a configuration."""

    name: str
    size: int = 0

    def __str__(self) -> str:
        return f"{self.name}({self.size})" if PARTS.get(self.name).sized else self.name


@dataclass(frozen=True)
class Piece:
    """Text of one part."""

    part: str
    text: str
    label: str


def parse_part(text: str) -> Chosen:
    """Parse a part such as "themes(4)" or "speaker". Raises InputError."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise InputError(f"cannot read '{text}' as a part of an explanation; expected 'name' or 'name(n)'")
    sized = PARTS.get(match[1]).sized
    if sized and not int(match[2] or 0):
        raise InputError(f"part '{match[1]}' needs a size, as in '{match[1]}(4)'")
    if not sized and match[2]:
        raise InputError(f"part '{match[1]}' takes no size; write '{match[1]}'")
    return Chosen(match[1], int(match[2] or 0))


def largest(lines: Iterable[Iterable[str]], name: str) -> int:
    """Largest size of the part `name` in a format; 0 if the format does not use it."""
    return max((c.size for line in lines for c in map(parse_part, line) if c.name == name), default=0)


def pieces(moment: Moment, vocabulary: Vocabulary, lines: Sequence[Sequence[str]]) -> list[list[Piece]]:
    """The pieces of each line. Empty parts are left out."""
    writing = Writing(moment, vocabulary)
    if quoted := largest(lines, "tail"):
        writing.taken.update(w.lower() for w in WORD.findall(_tail(writing, quoted)))
    found = []
    for line in lines:
        said = []
        for chosen in map(parse_part, line):
            part = PARTS.get(chosen.name)
            if text := part.say(writing, chosen.size):
                said.append(Piece(chosen.name, text, part.label))
        found.append(said)
    return found


def joined(lines: Iterable[Iterable[Piece]], without: str | None = None) -> str:
    """Pieces as lines of text: semicolons separate labelled pieces, commas the others. Leaves out the part
    `without`."""
    written = []
    for line in lines:
        text = ""
        for piece in line:
            if piece.part != without:
                between = "" if not text else "; " if piece.label else ", "
                text += between + (f"{piece.label}: {piece.text}" if piece.label else piece.text)
        if text:
            written.append(text)
    return "\n".join(written)


def explain(moment: Moment, vocabulary: Vocabulary, lines: Sequence[Sequence[str]]) -> str:
    """The explanation of one position in the format `lines`."""
    return joined(pieces(moment, vocabulary, lines))


def _part(name: str, label: str = "", sized: bool = False) -> Callable[..., Callable[[Writing, int], str]]:
    def add(say: Callable[[Writing, int], str]) -> Callable[[Writing, int], str]:
        PARTS.register(name)(Part(say, sized, label))
        return say

    return add


@_part("speaker")
def _speaker(writing: Writing, _: int) -> str:
    """Whose turn it is, and its number."""
    moment = writing.moment
    turn = f" turn {moment.turn + 1}" if moment.turn >= 0 else ""
    if moment.channel == "template":
        return f"start of {moment.role}{turn}" if moment.role != "template" else f"between turns{turn}"
    names = {
        "response": "assistant",
        "thinking": "assistant thinking",
        "tool_call": "tool call",
        "tool_result": "tool result",
    }
    return names.get(moment.channel, moment.channel) + turn


@_part("form")
def _form(writing: Writing, _: int) -> str:
    """Surface form at the position, as `form_of`; code with its language if that is common."""
    message = writing.messages[-1][1]
    found = form_of(message)
    if found == "code" and message.count("```") % 2 == 1:
        named = re.match(r"(\w{1,12})\n", message.rsplit("```", 1)[1])
        return f"{named[1].lower()} code" if named and writing.vocabulary.common(named[1]) else found
    return found


_PLACES = ((1, "first words"), (15, "beginning"), (60, "early"), (200, "well into it"))


@_part("place")
def _place(writing: Writing, _: int) -> str:
    """Progress into the message, by number of words."""
    words = len(writing.messages[-1][1].split())
    return next((name for most, name in _PLACES if words <= most), "far into it")


_ASKING = frozenset(
    "what how why when where which who whose can could would should is are do does did will was were".split()  # noqa: SIM905
)


@_part("request")
def _request(writing: Writing, _: int) -> str:
    """Form of the last user message: code, a question, a long text, a wish to go on, or an instruction."""
    asked = next((words for role, words in reversed(writing.messages) if role == "user"), None)
    if asked is None or not asked.split():
        return ""
    return f"{'asking with' if writing.moment.channel == 'user' else 'replying to'} {_kind_of_request(asked)}"


def _kind_of_request(asked: str) -> str:
    first = asked.split()[0].lower().strip(",.!?:\"'")
    if "```" in asked or len(re.findall(r"[{};]\s*$", asked, re.M)) >= 3:
        return "code"
    if asked.rstrip().endswith("?") or first in _ASKING:
        return "a question"
    if first in ("continue", "more", "next", "go") and len(asked.split()) <= 6:
        return "a wish to go on"
    return "a long text" if len(asked.split()) > 150 else "an instruction"


def _words(text: str) -> list[str]:
    return [w.lower().removesuffix("'s").removesuffix("’s") for w in WORD.findall(without_marks(text))]


def _themes(writing: Writing, weight: dict[str, float], size: int) -> str:
    """The `size` content words with the largest weight x idf that the explanation does not contain yet."""
    known, stops = writing.vocabulary.idf, stop_words()
    able = [w for w in weight if len(w) >= 4 and w in known and w not in stops and w not in _LEFT_OUT | writing.taken]
    ranked = sorted(able, key=lambda w: (-weight[w] * known[w], w))[:size]
    writing.taken.update(ranked)
    return ", ".join(ranked)


@_part("themes", "about", sized=True)
def _whole_themes(writing: Writing, size: int) -> str:
    """Themes of the whole context so far, weighted by count."""
    weight: dict[str, float] = {}
    for word in _words(writing.moment.text[writing.moment.written_from :]):
        weight[word] = weight.get(word, 0.0) + 1.0
    return _themes(writing, weight, size)


@_part("task", "asked about", sized=True)
def _task(writing: Writing, size: int) -> str:
    """Themes of the last user message."""
    messages = messages_of(writing.moment.text[writing.moment.written_from :])
    asked = next((words for role, words in reversed(messages) if role in ("user", "")), "")
    return _themes(writing, dict.fromkeys(_words(asked), 1.0), size)


def _recency(text: str, half_life: float, window: int = 6000) -> dict[str, float]:
    """log(1 + count) of each word. An occurrence counts half for every `half_life` words between it and the end."""
    weight: dict[str, float] = {}
    for back, word in enumerate(reversed(_words(text[-window:]))):
        weight[word] = weight.get(word, 0.0) + 0.5 ** (back / half_life)
    return {word: math.log1p(count) for word, count in weight.items()}


@_part("topic", "lately", sized=True)
def _topic(writing: Writing, size: int) -> str:
    """Themes of the nearer context, without words of the last `RECENT` tokens."""
    moment = writing.moment
    copied = set(_words(moment.recent))
    weight = _recency(moment.text[moment.written_from : max(moment.written_from, moment.recent_from)], half_life=40.0)
    return _themes(writing, {w: x for w, x in weight.items() if w not in copied}, size)


@_part("near", "about", sized=True)
def _near(writing: Writing, size: int) -> str:
    """Themes of the text so far with a half-life of 120 words, including the latest words and quoted words."""
    weight = _recency(writing.moment.text[writing.moment.written_from :], half_life=120.0)
    free = Writing(writing.moment, writing.vocabulary)
    return _themes(free, weight, size)


@_part("tail", "after", sized=True)
def _tail(writing: Writing, size: int) -> str:
    """The last words up to and including the final token, without uncommon words, with turn marks as [role].

    If the final token ends a longer word, the whole word is quoted if it is common, else only the token."""
    words = with_named_marks(writing.moment.text[-60 * size :]).split()[-size:]
    able = writing.vocabulary.common
    shown = [w for w in words[:-1] if is_mark(w) or able(w)]
    last = words[-1] if words else "[start]"
    shown.append(last if is_mark(last) or able(last) else now(writing.moment))
    return " ".join(shown)


@_part("now", "now")
def _now(writing: Writing, _: int) -> str:
    """The final token as shown."""
    return now(writing.moment)


@_part("kind")
def _kind(writing: Writing, _: int) -> str:
    """Surface class of the final token."""
    shown = now(writing.moment)
    bare = shown.strip("-")
    if is_mark(shown) or shown in ("newline", "space"):
        return "a break"
    if bare.isdigit():
        return "a number"
    if not any(c.isalnum() for c in bare):
        return "the end of a sentence" if bare[-1:] in (".", "!", "?") else "a punctuation mark"
    if shown.startswith("-"):
        return "the rest of a word"
    if bare.lower() in stop_words():
        return "a function word"
    return "a capitalised word" if bare[:1].isupper() else "a content word"


@_part("like", "like", sized=True)
def _like(writing: Writing, size: int) -> str:
    """Words near the final word in the target's input embedding, without words of the last `RECENT` tokens."""
    return " / ".join(writing.moment.like[:size])


@_part("expects", "next", sized=True)
def _expects(writing: Writing, size: int) -> str:
    """The target's likeliest next tokens."""
    return " / ".join(expected(writing.moment)[:size])


@_part("continuation", "going on", sized=True)
def _continuation(writing: Writing, size: int) -> str:
    """The first words of the target's own greedy continuation, without uncommon words."""
    text = writing.moment.continuation
    words = with_named_marks(text).split()
    if words and writing.moment.joined and text[:1].isalnum():
        words[0] = f"-{words[0]}"
    return " ".join(w for w in words[:size] if is_mark(w) or writing.vocabulary.common(w))
