"""How often the claims of plain explanations are true: each is held against the context it was read from. In: held-out
rows and their explanations. Out: per claim, how often it is made and how often it is true, with the same explanations
shuffled among rows as chance.

A context that gives a claim no value (no subject leads, for one) decides nothing; such rows are counted apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from .claims import CLAIMS, Spot
from .figures import Figure, Ints, share
from .held_out import HeldOut
from .sentences import said_in

TOKEN = "token"
_FEWEST_PLAIN = 0.5
"""Explanations are plain if at least this share of them names its final token in a sentence of ours."""


class SaidClaim(BaseModel):
    """One claim over the held-out rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """"token" or the name of a claim."""
    made: Figure
    """Share of explanations that make it."""
    true: Figure | None
    """Of those whose context decides it, the share that is true; None if there is none."""
    by_chance: Figure | None
    """The same with explanations of other conversations."""
    undecided: int
    """Rows that make it and whose context gives no value."""


def said_claims(held: HeldOut, explanations: Sequence[str]) -> list[SaidClaim]:
    """One entry per claim that is made at least once; none if the explanations are not plain sentences."""
    said = [said_in(text) for text in explanations]
    if np.mean([s.token is not None for s in said]) < _FEWEST_PLAIN:
        return []
    made = [{**({TOKEN: s.token} if s.token is not None else {}), **s.claims} for s in said]
    spots = [Spot(c, r, int(s[-1])) for c, r, s in zip(held.contexts, held.roles, held.starts, strict=True)]
    truths: list[dict[str, str | None]] = [
        {TOKEN: spot.token, **{claim.name: claim.value(spot) for claim in CLAIMS}} for spot in spots
    ]
    other = _elsewhere(held.conversation)
    return [
        found
        for name in (TOKEN, *(claim.name for claim in CLAIMS))
        if (found := _of(name, made, truths, held.conversation, other)) is not None
    ]


def _of(
    name: str, made: Sequence[dict[str, str]], truths: Sequence[dict[str, str | None]], conversation: Ints, other: Ints
) -> SaidClaim | None:
    rows = np.array([i for i, said in enumerate(made) if name in said], np.int64)
    if not len(rows):
        return None

    def right(of: Ints) -> Figure | None:
        """Share of the claims of `rows` that hold in the contexts of rows `of`."""
        pairs = [(made[i][name], truths[j][name], conversation[i]) for i, j in zip(rows, of, strict=True)]
        decided = [(value == truth, c) for value, truth, c in pairs if truth is not None]
        if not decided:
            return None
        hits, clusters = zip(*decided, strict=True)
        return share(np.array(hits), np.array(clusters, np.int64))

    undecided = sum(truths[i][name] is None for i in rows)
    mentions = np.array([name in said for said in made])
    return SaidClaim(
        name=name, made=share(mentions, conversation), true=right(rows), by_chance=right(other[rows]),
        undecided=undecided,
    )  # fmt: skip


def _elsewhere(conversation: Ints) -> Ints:
    """For every row another row, seeded, of another conversation where there is one."""
    random = np.random.default_rng(0)
    found = np.empty(len(conversation), np.int64)
    for row, own in enumerate(conversation):
        others = np.flatnonzero(conversation != own)
        found[row] = random.choice(others) if len(others) else row
    return found
