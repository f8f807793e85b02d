"""Position policies: a registry of seeded rules that choose which tokens of a replay are read.

In: a `Replay` and a policy such as "uniform_response(50)". Out: ascending token positions. The draw depends only on the
seed, the transcript's content and the policy, so the other transcripts of a run do not change it. This module knows no
packs or models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..registry import Registry
from .types import Channel, Replay

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class PolicyFn:
    """The function of a position policy."""

    choose: Callable[[Replay, Positions, int, np.random.Generator], Positions]
    """(replay, eligible positions ascending, k or 0, generator) -> chosen positions in any order."""
    needs_k: bool
    """Whether the policy takes a number of positions, written `name(k)`."""


POLICIES: Registry[PolicyFn] = Registry("position policy")


@dataclass(frozen=True)
class Policy:
    """A policy's name and its number of positions. `parse_policy(str(policy)) == policy`."""

    name: str
    k: int | None = None

    def __post_init__(self) -> None:
        needs_k = POLICIES.get(self.name).needs_k
        if needs_k and (self.k is None or self.k < 1):
            raise InputError(f"position policy '{self.name}' needs a number of positions, as in '{self.name}(12)'")
        if not needs_k and self.k is not None:
            raise InputError(f"position policy '{self.name}' takes no number; write '{self.name}'")

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}({self.k})"


def parse_policy(text: str) -> Policy:
    """Parse a policy such as "uniform_response(50)" or "boundaries". Raises InputError."""
    match = re.fullmatch(r"\s*([a-z_]+)\s*(?:\(\s*(\d+)\s*\))?\s*", text)
    if match is None:
        raise InputError(
            f"cannot read position policy '{text}'; expected 'name' or 'name(k)', known: {', '.join(POLICIES)}"
        )
    return Policy(match[1], int(match[2]) if match[2] else None)


def sample_positions(replay: Replay, policy: Policy, *, seed: int, min_position: int) -> NDArray[np.int64]:
    """Choose the positions of `replay` to read, ascending and unique.

    Special tokens and positions below `min_position` are never read. If fewer than k tokens are eligible, all of them
    are returned.

    Args:
        replay: The rendered transcript, T tokens.
        policy: The policy that chooses.
        seed: Seed of the run. The draw is keyed by (seed, transcript digest, policy).
        min_position: First position the pack can read.

    Returns:
        Token indices into the replay, int64, shape (n,) with n <= k for the policies that take one.
    """
    everything = np.arange(len(replay), dtype=np.int64)
    eligible = everything[(~replay.special) & (everything >= min_position)]
    key = hashlib.sha256(f"{seed}|{replay.transcript_digest}|{policy}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(key[:16], "big"))
    chosen = POLICIES.get(policy.name).choose(replay, eligible, policy.k or 0, generator)
    return np.unique(chosen).astype(np.int64)


def channel_tokens(replay: Replay, *, min_position: int) -> dict[str, int]:
    """Number of tokens that the stratified policy draws from, by channel label (docs/method.md 4.15)."""
    eligible = ~replay.special & (np.arange(len(replay)) >= min_position)
    return {
        channel.label: count
        for channel in Channel
        if channel != Channel.TEMPLATE and (count := int(np.sum(eligible & (replay.channel == channel))))
    }


def _uniform_response(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """k response tokens from all turns, without replacement: visible assistant text, no tool calls, no thinking."""
    pool: Positions = eligible[replay.channel[eligible] == Channel.RESPONSE]
    return np.asarray(generator.permutation(pool)[:k], dtype=np.int64)


def _uniform_assistant(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """k assistant tokens from all turns, without replacement: thinking, visible text and tool calls."""
    return np.asarray(generator.permutation(_written(replay, eligible))[:k], dtype=np.int64)


def _evenly(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """k tokens of what the assistant wrote, evenly spaced from its first to its last. Nothing is drawn, so an answer is
    read at the same tokens under every prompt: for paired designs."""
    pool = _written(replay, eligible)
    at = np.linspace(0, len(pool) - 1, min(k, len(pool))).round().astype(np.int64)
    return pool[at] if len(pool) else pool


def _written(replay: Replay, eligible: Positions) -> Positions:
    """What the assistant wrote: thinking, visible text and tool calls, of all turns."""
    channels = (Channel.RESPONSE, Channel.THINKING, Channel.TOOL_CALL)
    pool: Positions = eligible[np.isin(replay.channel[eligible], channels)]
    return pool


def _stratified(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """k content tokens spread over turns, channels and position deciles.

    Each token comes from the (turn, channel, decile) cell whose three margins are least used so far; ties are broken at
    random. So every turn, channel and decile is covered before any is used twice, as far as the cells allow.
    """
    pool: Positions = eligible[replay.channel[eligible] != Channel.TEMPLATE]
    if len(pool) <= k:
        return pool
    decile = pool * 10 // len(replay)
    strata = np.stack([replay.turn[pool].astype(np.int64), replay.channel[pool].astype(np.int64), decile])
    cells, cell_of = np.unique(strata, axis=1, return_inverse=True)
    margins = [np.unique(row, return_inverse=True)[1] for row in cells]
    used = [np.zeros(int(margin.max()) + 1) for margin in margins]
    order = generator.permutation(len(pool))
    members = [order[cell_of.ravel()[order] == cell] for cell in range(cells.shape[1])]
    taken = np.zeros(len(members), dtype=np.int64)
    sizes = np.array([len(m) for m in members])
    chosen = np.empty(k, dtype=np.int64)
    for draw in range(k):
        load = sum(counts[margin] for counts, margin in zip(used, margins, strict=True))
        load = np.where(taken < sizes, load + 1e-3 * generator.random(len(members)), np.inf)
        cell = int(np.argmin(load))
        chosen[draw] = members[cell][taken[cell]]
        taken[cell] += 1
        for counts, margin in zip(used, margins, strict=True):
            counts[margin[cell]] += 1
    return np.asarray(pool[chosen], dtype=np.int64)


def _boundaries(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """Each user message's last content token, and the last template token before each assistant message's content."""
    content = replay.channel != Channel.TEMPLATE
    found: list[int] = []
    for index, role in enumerate(replay.roles):
        inside = np.flatnonzero(content & (replay.message == index))
        if role == "user" and len(inside) and _is_whole(replay, int(inside[-1])):
            found.append(int(inside[-1]))
        if role == "assistant" and len(inside) and inside[0] > 0 and not content[inside[0] - 1]:
            found.append(int(inside[0]) - 1)
    return np.intersect1d(eligible, np.array(found, dtype=np.int64))


def _all(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """Every eligible token."""
    return eligible


def _last(replay: Replay, eligible: Positions, k: int, generator: np.random.Generator) -> Positions:
    """The last content token of the last assistant message with content; none if the window cuts that message off."""
    assistants = [index for index, role in enumerate(replay.roles) if role == "assistant"]
    content = np.flatnonzero((replay.channel != Channel.TEMPLATE) & np.isin(replay.message, assistants))
    cut = replay.window.ends_early and (not len(replay) or int(replay.message[-1]) <= assistants[-1])
    if not len(content) or (
        cut and not (replay.message[content[-1]] == assistants[-1] and _is_whole(replay, int(content[-1])))
    ):
        return eligible[:0]
    return np.intersect1d(eligible, content[-1:])


def _is_whole(replay: Replay, last: int) -> bool:
    """Whether a message with last kept content token `last` ends there, rather than at the window's edge."""
    return not replay.window.ends_early or last < len(replay) - 1


for _name, _choose, _needs_k in (
    ("uniform_response", _uniform_response, True),
    ("uniform_assistant", _uniform_assistant, True),
    ("evenly", _evenly, True),
    ("stratified", _stratified, True),
    ("boundaries", _boundaries, False),
    ("all", _all, False),
    ("last", _last, False),
):
    POLICIES.register(_name)(PolicyFn(_choose, _needs_k))
