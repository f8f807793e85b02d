"""Held-out rows for measuring a pack or checkpoint: activations and their contexts, row by row. Plain data;
`held_out_source` and `training.run_rows` create it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .figures import Ints
from .shown_tokens import RECENT

AHEAD = 60
"""Number of tokens of the true continuation."""
TAIL = 256
"""Number of last context tokens whose start characters are kept."""
NEIGHBOURS = 10
"""Number of consecutive positions in a window."""
Characters = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True)
class Around:
    """The text around one position."""

    context: str
    """Text up to and including the position."""
    starts: NDArray[np.int64]
    """First character of each of the last context tokens (at most `TAIL`), ascending."""
    continuation: str
    """The next `AHEAD` tokens."""

    @classmethod
    def of(cls, text: str, spans: tuple[Characters, Characters], position: int) -> Around:
        """The text around token `position` of `text`. `spans` are the start and end characters of every token."""
        first, end = spans
        at, last = int(end[position]), min(len(end) - 1, position + AHEAD)
        starts = np.array(first[max(0, position + 1 - TAIL) : position + 1], np.int64)
        return cls(text[:at], starts, text[at : int(end[last])])


def neighbours(length: int, min_position: int, random: np.random.Generator) -> Ints | None:
    """(NEIGHBOURS,) consecutive positions in a conversation of `length` tokens; None if it is too short."""
    if length <= min_position + 3 * NEIGHBOURS:
        return None
    first = int(random.integers(min_position + NEIGHBOURS, length - NEIGHBOURS))
    return np.arange(first, first + NEIGHBOURS, dtype=np.int64)


@dataclass(frozen=True)
class Window:
    """Consecutive positions of one conversation."""

    activations: NDArray[np.float32]
    """(NEIGHBOURS, d_model)"""
    context: str
    """Text up to the last position."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out positions, row by row; every list has the length n of `activations`."""

    kind: str
    """Kind of text: the source's name."""
    activations: NDArray[np.float32]
    """(n, d_model) raw."""
    contexts: list[str]
    """Rendered text up to and including the position."""
    starts: list[NDArray[np.int64]]
    """Per row: first character, in `contexts`, of each of the last tokens (at most `TAIL`), ascending."""
    continuations: list[str]
    """The next `AHEAD` tokens as text; empty at the end of a conversation."""
    roles: list[str]
    """Channel of the token, or "template" between messages."""
    next_token: list[str]
    """The target's most likely next token, as an explanation shows it."""
    conversation: Ints
    """(n,) cluster of each row."""
    references: list[str] | None = None
    """Warm-start explanations, if the rows come from a training run."""
    windows: list[Window] = field(default_factory=list)
    """Windows of consecutive positions, for recurrence."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of records that could not be used, by reason."""

    def __post_init__(self) -> None:
        conversations = len(np.unique(self.conversation))
        if conversations < 2:
            raise InputError(
                f"held-out rows of '{self.kind}' come from {conversations} conversations; a shuffled control needs "
                "at least 2"
            )

    def __len__(self) -> int:
        return len(self.activations)

    @property
    def digest(self) -> str:
        """First 12 hex digits of the sha256 of the contexts. Measurements with equal digests can be paired by row."""
        return hashlib.sha256("\0".join(self.contexts).encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def tail(self, row: int, tokens: int) -> str:
        """The last `tokens` context tokens of a row, as text."""
        starts = self.starts[row]
        return self.contexts[row][int(starts[max(0, len(starts) - max(1, tokens))]) :]

    def recent(self, row: int) -> str:
        """The last `RECENT` context tokens."""
        return self.tail(row, RECENT)

    def bare_end(self) -> NDArray[np.bool_]:
        """(n,) whether the final token is punctuation, whitespace or template: it has no letter or digit to copy."""
        last = [self.tail(i, 1) for i in range(len(self))]
        pairs = zip(last, self.roles, strict=True)
        return np.array([role == "template" or not any(c.isalnum() for c in text) for text, role in pairs])

    def others(self, seed: int = 0) -> Ints:
        """(n,) a row of another conversation for each row, for the shuffled control."""
        rng = np.random.default_rng(seed)
        rows = np.arange(len(self))
        return np.array([int(rng.choice(rows[self.conversation != c])) for c in self.conversation.tolist()])
