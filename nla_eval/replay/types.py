"""What a replay is: token ids of one transcript under one target's chat template, and where each token came from.

Pure data, no tokenizer. `replay.py` makes these; positions, capture and reports read them."""

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
        """The field's word for it: "tool_call" and so on."""
        return self.name.lower()


WINDOW_POLICIES = ("head", "tail", "skip")
"""What may be kept of a transcript longer than the target's context: its first tokens; whole messages, those it begins
with and its last turns; or nothing: it is skipped, and only what fits is read."""


def window_policy(name: str) -> str:
    """The window called `name`; "whole" is an older name of "skip"."""
    return "skip" if name == "whole" else name


FOREIGN_CALLS = frozenset({"tool_calls_as_text", "tool_call_dropped"})
"""Notes of a replay whose tool calls, or some of them, are not in the notation of the target's own template."""


@dataclass(frozen=True)
class Window:
    """What the window policy kept of a transcript that may be longer than the target's context."""

    policy: str
    """"none" (it fitted), "head" (its first tokens) or "tail" (whole messages: how it begins and its last turns)."""
    total_tokens: int
    kept_tokens: int

    @property
    def lost_tokens(self) -> int:
        """Tokens beyond the window: their positions are OUT_OF_CONTEXT."""
        return self.total_tokens - self.kept_tokens

    @property
    def ends_early(self) -> bool:
        """Whether the last token kept is not the transcript's last."""
        return self.policy == "head" and self.lost_tokens > 0


@dataclass(frozen=True)
class Replay:
    """One transcript as the target would have seen it. All arrays have length T = kept tokens."""

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
    """0-based; a turn starts at each user message and runs to the next one; -1 before the first."""
    char_start: NDArray[np.int32]
    char_end: NDArray[np.int32]
    special: NDArray[np.bool_]
    """True for the template's own special tokens. Look-alikes in a message are ordinary text and False."""
    roles: tuple[str, ...]
    """Role of each message."""
    window: Window
    template_hash: str
    notes: tuple[str, ...] = field(default=())
    """How faithfully the template rendered it: empty when exact, else e.g. "trimmed", "tool_calls_as_text"; and how it
    was cut, "cut_to_head" or "cut_to_tail"."""

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def fallback(self) -> bool:
        """True when the target's template could not render it and the declared text fallback was used."""
        return "tool_calls_as_text" in self.notes

    def token_text(self, position: int) -> str:
        """The rendered characters of one token."""
        return self.text[int(self.char_start[position]) : int(self.char_end[position])]
