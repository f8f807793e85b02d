"""What a plain explanation can claim of a position, apart from its tokens. Each claim is one of a few values, so that
a reader of activations can be asked how sure it is. In: a `Moment`. Out: a value, or None if the text gives none.

No claim is about evaluation: the subjects of topics.yaml are fields of talk, the others are the form of the text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...cards.yaml_file import read_yaml
from ...measure.shown_tokens import is_mark, with_named_marks
from .explain import WORD, Moment, Vocabulary, messages_of
from .explanation_parts import form_of

TOPICS = Path(__file__).with_name("topics.yaml")
_FEWEST_WORDS = 3
"""A subject is named only where at least this many of its words stand in the text looked at."""
_LEAD = 1.25
"""Its score is at least this many times the next subject's."""
_NEAR = 4000
"""Characters before the position in which subjects are looked for."""
_PLACES = ((15, "start"), (80, "middle"))
_COMMON = 400
"""Number of most frequent last words that "after" can name."""


@dataclass(frozen=True)
class Claim:
    """One thing that may be claimed."""

    name: str
    value: Callable[[Moment], str | None]


def speaker(moment: Moment) -> str | None:
    """Who speaks: the channel, or for a template token the role whose turn begins; None between turns."""
    if moment.channel != "template":
        return moment.channel
    return f"before {moment.role}" if moment.role != "template" else None


def form(moment: Moment) -> str | None:
    """Form of the text: code, list, table, heading, question or prose; None at the very start of a message."""
    if moment.channel == "template":
        return None
    found = form_of(messages_of(moment.text)[-1][1])
    return None if found in ("new line", "opening") else found


def place(moment: Moment) -> str | None:
    """Progress into the message by words: start (15 at most), middle (80 at most) or far."""
    if moment.channel == "template":
        return None
    words = len(messages_of(moment.text)[-1][1].split())
    return next((name for most, name in _PLACES if words <= most), "far")


def exchange(moment: Moment) -> str | None:
    """Whether the turn is of the first exchange or a later one."""
    return None if moment.turn < 0 else "first" if moment.turn == 0 else "later"


def topic(moment: Moment) -> str | None:
    """The subject of topics.yaml with the most words near the position, if it leads; see `_LEAD`."""
    text = moment.text[max(moment.written_from, len(moment.text) - _NEAR) :]
    asked = next((words for role, words in reversed(messages_of(moment.text)) if role == "user"), "")
    return topic_of(f"{asked[-_NEAR:]} {text}")


def topic_of(text: str) -> str | None:
    """The leading subject of a text. A word counts with the logarithm of how often it occurs."""
    counts: dict[str, int] = {}
    for word in WORD.findall(with_named_marks(text)):
        counts[word.lower()] = counts.get(word.lower(), 0) + 1
    found = {name: [counts[w] for w in words if w in counts] for name, words in _words().items()}
    scores = sorted(((sum(map(math.log1p, c)), name) for name, c in found.items()), reverse=True)
    (best, name), (second, _) = scores[0], scores[1]
    return name if len(found[name]) >= _FEWEST_WORDS and best >= _LEAD * second else None


def wider(moment: Moment) -> str | None:
    """The wider subject of `topic`."""
    named = topic(moment)
    return _topics()["topics"][named]["wider"] if named else None


def phrase_of(value: str) -> str:
    """The words for a subject or a wider subject."""
    read = _topics()
    return str(read["topics"][value]["phrase"] if value in read["topics"] else read["wider"][value])


def before(moment: Moment, vocabulary: Vocabulary) -> str | None:
    """The word before the final token, or the part of its own word before it, as shown; None if it is uncommon."""
    words = with_named_marks(moment.text[: len(moment.text) - len(moment.token)][-200:]).split()
    if not words:
        return None
    return words[-1] if is_mark(words[-1]) or vocabulary.common(words[-1]) else None


CLAIMS = (
    Claim("speaker", speaker),
    Claim("form", form),
    Claim("place", place),
    Claim("exchange", exchange),
    Claim("topic", topic),
    Claim("wider", wider),
)
"""In the order of a sentence. `before` is a claim of its own, because its values depend on the corpus."""


def frequent(values: list[str | None], most: int = _COMMON) -> list[str | None]:
    """`values` with all but the `most` frequent ones replaced by None. Ties are broken by the value."""
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    kept = set(sorted(counts, key=lambda v: (-counts[v], v))[:most])
    return [value if value in kept else None for value in values]


@cache
def _topics() -> dict[str, Any]:
    read: dict[str, Any] = read_yaml(TOPICS)
    return read


@cache
def _words() -> dict[str, frozenset[str]]:
    return {name: frozenset(str(entry["words"]).split()) for name, entry in _topics()["topics"].items()}
