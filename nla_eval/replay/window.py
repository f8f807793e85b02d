"""Windows: cut a conversation that exceeds the target's context to its head, or to its opening messages and its last
messages.

In: a replay of the whole conversation, or the roles of its messages. Out: a part, or candidates for one. This module
renders nothing and knows no tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .types import Replay, Window

_PER_TOKEN = ("token_ids", "message", "channel", "turn", "char_start", "char_end", "special")


def head_of(whole: Replay, kept: int) -> Replay:
    """Cut a replay to its first `kept` tokens."""
    return replace(
        whole,
        **{name: getattr(whole, name)[:kept] for name in _PER_TOKEN},
        window=Window("head", len(whole), kept),
        notes=(*whole.notes, "cut_to_head"),
    )


class Tail(NamedTuple):
    """Messages of a tail, by index: the opening ones, and all from `start` on."""

    opening: tuple[int, ...]
    """The leading system messages, the first user message and, if a turn is cut, the user message that opens it."""
    start: int


def tails(roles: Sequence[str]) -> Iterator[Tail]:
    """Yield ever shorter tails. Each starts at a user message; the last ones start at an assistant message of the last
    turn.

    So no tool result is kept without its call, and the request of the last turn is always kept.

    Args:
        roles: Role of each message: "system", "user", "assistant" or "tool".
    """
    systems = next((index for index, role in enumerate(roles) if role != "system"), len(roles))
    users = [index for index, role in enumerate(roles) if role == "user"]
    opening = (*range(systems), *users[:1])
    for start in users[1:]:
        if start > len(opening):
            yield Tail(opening, start)
    cut = (*opening, *users[1:][-1:])
    for start in range(max(cut, default=-1) + 2, len(roles)):
        if roles[start] == "assistant":
            yield Tail(cut, start)


def placed(part: Replay, whole: Replay, kept: NDArray[np.int32], turns: NDArray[np.int32]) -> Replay:
    """Turn a replay of some messages into a part of the whole, with the message and turn numbers of the whole.

    Args:
        part: Replay of the kept messages alone.
        whole: Replay of all messages.
        kept: (m,) indices of the kept messages.
        turns: Turn of each message of the whole, followed by its last turn and -1.
    """
    message = np.where(part.message >= 0, kept[part.message], np.int32(-1))
    outside = np.where(part.turn >= 0, turns[-2], turns[-1])
    return replace(
        part,
        transcript_digest=whole.transcript_digest,
        message=message,
        turn=np.where(message >= 0, turns[message], outside).astype(np.int32),
        roles=whole.roles,
        window=Window("tail", len(whole), len(part)),
        notes=(*part.notes, "cut_to_tail"),
    )
