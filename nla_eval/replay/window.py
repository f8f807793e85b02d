"""What is kept of a conversation longer than a target's context: its head, or the messages it begins with and a run of
messages up to its end. In: a replay of the whole, or the roles of its messages. Out: a part, or candidates for one. It
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
    """The first `kept` tokens."""
    return replace(
        whole,
        **{name: getattr(whole, name)[:kept] for name in _PER_TOKEN},
        window=Window("head", len(whole), kept),
        notes=(*whole.notes, "cut_to_head"),
    )


class Tail(NamedTuple):
    """Messages by index: the opening ones, and all from `start` on."""

    opening: tuple[int, ...]
    """The system messages before all others, the first user message, and where a turn is cut the one that opens it."""
    start: int


def tails(roles: Sequence[str]) -> Iterator[Tail]:
    """Ever shorter tails. Each begins with a user's message; then those of the last turn begin with an assistant's.

    So no tool result is kept without its call, and of the last turn the request stays, whatever else is left out of it.

    Args:
        roles: "system", "user", "assistant" or "tool" of each message.
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
    """A replay of some messages as a part of the whole: their numbers and turns are those of the whole.

    Args:
        part: Of the kept messages alone.
        whole: Of all.
        kept: (m,) indices of the kept messages.
        turns: Of each message of the whole, then its last turn, then -1.
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
