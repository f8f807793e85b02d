"""What a plain explanation can claim of a position, and the truth of each claim. In: the text up to a token and its
channel. Out: a value, or None if the text gives none.

Each claim is one of a few values, so that it can be checked, and a reader of activations asked how sure it is. No claim
is about evaluation: the subjects of topics.yaml are fields of talk, the others are the form of the text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..cards.yaml_file import read_yaml
from .shown_tokens import messages_of, shown_token, with_named_marks

TOPICS = Path(__file__).with_name("topics.yaml")
_WORD = re.compile(r"[A-Za-z][a-z_]+|[A-Za-z]+")
_FEWEST_WORDS = 2
"""A subject is named only where at least this many of its words stand in the text looked at."""
_LEAD = 1.1
"""Its score is at least this many times the next subject's."""
_NEAR = 4000
"""Characters before the position in which subjects are looked for."""
_PLACES = ((15, "start"), (80, "middle"))
TEMPLATE = "template"


@dataclass(frozen=True)
class Spot:
    """One position, as its claims see it."""

    context: str
    """The rendered conversation up to and including the token."""
    channel: str
    """Channel of the token, or "template" between messages."""
    begins: int
    """First character of the token in `context`."""

    @property
    def token(self) -> str:
        """The final token as shown."""
        return shown_token(self.context[self.begins :], self.context[: self.begins][-1:].isalnum())

    @cached_property
    def messages(self) -> list[tuple[str, str]]:
        """(role, words) of each message; the last one may be unfinished or empty."""
        return messages_of(self.context) or [("", "")]


@dataclass(frozen=True)
class Claim:
    """One thing that may be claimed."""

    name: str
    value: Callable[[Spot], str | None]


def speaker(spot: Spot) -> str | None:
    """Who speaks: the channel, or for a template token the role whose turn begins; None between turns."""
    if spot.channel != TEMPLATE:
        return spot.channel
    role, words = spot.messages[-1]
    return f"before {role}" if role and not words.strip() else None


def form(spot: Spot) -> str | None:
    """Form of the text: code, list, table, heading, question or prose; None at the very start of a message."""
    found = form_of(spot.messages[-1][1]) if spot.channel != TEMPLATE else "opening"
    return None if found in ("new line", "opening") else found


def form_of(message: str) -> str:
    """Surface form at the end of a message: code, list, table, heading, question, new line, opening or prose."""
    line = message.rsplit("\n", 1)[-1]
    if message.count("```") % 2 == 1:
        return "code"
    if re.match(r"\s*(\d+[.)]|[-*•])\s?", line):
        return "list"
    if line.count("|") >= 2:
        return "table"
    if re.match(r"\s*#+\s|\s*\*\*", line):
        return "heading"
    if not line.strip():
        return "new line" if message.strip() else "opening"
    if re.search(r"[{};=]\s*$|^\s{4,}\S|\w\(.*\)\s*[:{;]?\s*$", line):
        return "code"
    return "question" if line.rstrip().endswith("?") else "prose"


def place(spot: Spot) -> str | None:
    """Progress into the message by words: start (15 at most), middle (80 at most) or far."""
    if spot.channel == TEMPLATE:
        return None
    words = len(spot.messages[-1][1].split())
    return next((name for most, name in _PLACES if words <= most), "far")


def topic(spot: Spot) -> str | None:
    """The subject of topics.yaml that leads in the last request and the text near the position, if one does."""
    return leading(_heard(spot), _words()[0])


def wider(spot: Spot) -> str | None:
    """The wider subject that leads there: its words are those of all its subjects."""
    return leading(_heard(spot), _words()[1])


def topic_of(text: str) -> str | None:
    """The leading subject of a text."""
    return leading(text, _words()[0])


def leading(text: str, known: Mapping[str, frozenset[str]]) -> str | None:
    """The entry of `known` whose words weigh most in `text`, if enough of them occur and it leads; see `_LEAD`. A word
    weighs the logarithm of how often it occurs."""
    counts = Counter(word.lower() for word in _WORD.findall(text))
    found = {name: [counts[w] for w in words if w in counts] for name, words in known.items()}
    scores = sorted(((sum(map(math.log1p, c)), name) for name, c in found.items()), reverse=True)
    (best, name), (second, _) = scores[0], scores[1]
    return name if len(found[name]) >= _FEWEST_WORDS and best >= _LEAD * second else None


def _heard(spot: Spot) -> str:
    """The last request and the text near the position. System messages count only while they are being read: a
    template's own would be in every conversation."""
    heard = [words for role, words in spot.messages[:-1] if role != "system"] + [spot.messages[-1][1]]
    asked = next((words for role, words in reversed(spot.messages) if role == "user"), "")
    return f"{asked[-_NEAR:]} {' '.join(heard)[-_NEAR:]}"


def before(spot: Spot) -> str | None:
    """The word before the final token, or the part of its own word before it, with turn marks as [role]."""
    words = with_named_marks(spot.context[: spot.begins][-200:]).split()
    return words[-1] if words else None


CLAIMS = (
    Claim("speaker", speaker),
    Claim("form", form),
    Claim("place", place),
    Claim("topic", topic),
    Claim("wider", wider),
    Claim("before", before),
)
"""In the order in which an explanation makes them."""


@cache
def topics() -> dict[str, Any]:
    """The subjects: "topics" and "wider", as in topics.yaml."""
    read: dict[str, Any] = read_yaml(TOPICS)
    return read


@cache
def _words() -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """Words of each subject, and of each wider subject."""
    every = topics()["topics"].items()
    narrow = {name: frozenset(str(entry["words"]).split()) for name, entry in every}
    wide = {w: frozenset().union(*(narrow[n] for n, e in every if e["wider"] == w)) for w in topics()["wider"]}
    return narrow, wide
