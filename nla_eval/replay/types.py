"""The replay type: token ids of one transcript under one target's chat template, and the source of each token.

Pure data, no tokenizer. `replay.py` makes replays; positions, capture and reports read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Channel(IntEnum):
    """Which part of the conversation a token belongs to. Stored as int8, written as its lower-case name."""

    TEMPLATE = 0
    SYSTEM = 1
    USER = 2
    THINKING = 3
    RESPONSE = 4
    TOOL_CALL = 5
    TOOL_RESULT = 6

    @property
    def label(self) -> str:
        """The channel's name in lower case, e.g. "tool_call"."""
        return self.name.lower()


WINDOW_POLICIES = ("head", "tail", "skip")
"""What to do if a transcript exceeds the target's context. "head" keeps its first tokens. "tail" keeps whole messages:
the opening ones and the last turns. "skip" refuses it, so that only transcripts that fit are read."""


def window_policy(name: str) -> str:
    """The window policy called `name`. "whole" is an older name for "skip"."""
    return "skip" if name == "whole" else name


FOREIGN_CALLS = frozenset({"tool_calls_as_text", "tool_call_dropped"})
"""Notes of a replay in which some tool calls are not in the notation of the target's own template."""


@dataclass(frozen=True)
class Window:
    """How much of a transcript the window policy kept."""

    policy: str
    """"none" (the transcript fits), "head" (its first tokens) or "tail" (its opening messages and its last turns)."""
    total_tokens: int
    kept_tokens: int

    @property
    def lost_tokens(self) -> int:
        """Number of tokens outside the window. Their positions are OUT_OF_CONTEXT."""
        return self.total_tokens - self.kept_tokens

    @property
    def ends_early(self) -> bool:
        """Whether the window cuts off the end of the transcript."""
        return self.policy == "head" and self.lost_tokens > 0


@dataclass(frozen=True)
class Replay:
    """One transcript as the target would have seen it. All arrays have length T, the number of kept tokens."""

    transcript_id: str
    transcript_digest: str
    text: str
    """The rendered text; `char_start`/`char_end` index into it."""
    token_ids: NDArray[np.int32]
    message: NDArray[np.int32]
    """Index into the transcript's messages; -1 for text the template adds outside any message."""
    channel: NDArray[np.int8]
    """`Channel` codes."""
    turn: NDArray[np.int32]
    """0-based turn; -1 before the first. A turn runs from one user message to the next."""
    char_start: NDArray[np.int32]
    char_end: NDArray[np.int32]
    special: NDArray[np.bool_]
    """True for the template's own special tokens. Look-alikes in a message are ordinary text and False."""
    roles: tuple[str, ...]
    """Role of each message."""
    window: Window
    template_hash: str
    notes: tuple[str, ...] = field(default=())
    """Deviations of the render, e.g. "trimmed" or "tool_calls_as_text", and how it was cut: "cut_to_head" or
    "cut_to_tail". Empty if the render is exact and whole."""

    def __len__(self) -> int:
        return len(self.token_ids)

    def token_text(self, position: int) -> str:
        """The rendered characters of one token."""
        return self.text[int(self.char_start[position]) : int(self.char_end[position])]
