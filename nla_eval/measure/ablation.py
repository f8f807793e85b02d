"""Does the AR read meaning, or a copied tail? Measures the FVE of changed held-out explanations: parts removed,
exchanged or reordered, words of the recent context masked, or a raw tail of equal length instead.

In: held-out rows and the explanations drawn for them. Out: one `Condition` per change, with its drop from the whole
explanation on the same rows. The AR reads every text once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..engines.base import Engine
from ..models.scores import Baselines, normalised
from .figures import Figure, Floats, Ints, difference, figure
from .held_out import HeldOut
from .parts import Parts, masked, reordered
from .shown_tokens import RECENT

MOST_PARTS = 6
WHOLE = "whole"
MASKED = f"words of the last {RECENT} context tokens masked"
REORDERED = "sentence order shuffled"
TAIL = "raw tail of equal length"
SHUFFLED = "shuffled among rows"
CONSTANT = "constant"
EMPTY = "empty"
REFERENCE = "reference"
REFERENCE_MASKED = "reference, words masked"
BARE = ", bare end"
"""Suffix of a condition that is scored only on rows whose final token has no letter or digit."""
Mask = NDArray[np.bool_]


class Condition(BaseModel):
    """FVE of explanations under one change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fve_nrm: Figure
    fve_meannorm: Figure
    drop: Figure | None = None
    """fve_meannorm of the whole explanation minus this one, on the same rows; None for the whole explanation itself."""


@dataclass(frozen=True)
class Variant:
    """One way to change every explanation."""

    name: str
    texts: Sequence[str]
    """(n,)"""
    rows: Mask | None = None
    """(n,) whether the change is defined on a row; None: on all rows."""


def variants(held: HeldOut, texts: Sequence[str], lengths: Sequence[int], seed: int = 0) -> list[Variant]:
    """Every condition of the card, in its order.

    Args:
        held: The rows.
        texts: (n,) explanation of each.
        lengths: (n,) tokens of each explanation; the raw tail has the same number.
        seed: Seed of shuffles. Every row has its own shuffle.
    """
    others = held.others(seed)
    bare = held.bare_end()
    tails = [held.tail(i, n) for i, n in enumerate(lengths)]
    hidden = [masked(t, held.recent(i)) for i, t in enumerate(texts)]
    constant = Counter(texts).most_common(1)[0][0]
    made = [
        Variant(WHOLE, texts),
        *_by_part([Parts.of(t) for t in texts], others),
        Variant(REORDERED, [reordered(t, seed + i) for i, t in enumerate(texts)]),
        Variant(MASKED, hidden),
        Variant(TAIL, tails),
        Variant(WHOLE + BARE, texts, bare),
        Variant(MASKED + BARE, hidden, bare),
        Variant(TAIL + BARE, tails, bare),
        Variant(SHUFFLED, [texts[j] for j in others.tolist()]),
        Variant(CONSTANT, [constant] * len(texts)),
        Variant(EMPTY, [""] * len(texts)),
    ]
    if held.references is not None:
        concealed = [masked(t, held.recent(i)) for i, t in enumerate(held.references)]
        made += [Variant(REFERENCE, held.references), Variant(REFERENCE_MASKED, concealed)]
    return made


def _by_part(parts: Sequence[Parts], others: Ints) -> list[Variant]:
    """Each part removed, alone, and taken from another row. Parts that fewer than half of the rows have are skipped."""
    made = []
    for p in range(MOST_PARTS):
        has = np.array([len(x) > p and len(x) > 1 for x in parts])
        if has.mean() < 0.5:
            break
        theirs = [parts[j].texts[p] if len(parts[j]) > p else "" for j in others.tolist()]
        given = has & np.array([bool(t) for t in theirs])
        rows = list(zip(parts, has.tolist(), theirs, strict=True))
        name = f"part {p + 1}"
        made += [
            Variant(f"without {name}", [x.without(p) if ok else "" for x, ok, _ in rows], has),
            Variant(f"{name} alone", [x.only(p) if ok else "" for x, ok, _ in rows], has),
            Variant(f"{name} of another row", [x.exchanged(p, t) if ok else "" for x, ok, t in rows], given),
        ]
    return made


@dataclass(frozen=True)
class Ablated:
    """The ablation table, and the error of every row under every condition."""

    conditions: list[Condition]
    mse: Mapping[str, Floats]
    """Condition to (n,) mse_nrm; NaN if the condition is not defined on the row."""
    vectors: Mapping[str, NDArray[np.float32]]
    """Condition to (n, d_model) reconstructions."""


def ablate(engine: Engine, held: HeldOut, changed: Sequence[Variant], baselines: Baselines) -> Ablated:
    """Reconstruct every text of every condition and score it against its row's activation."""
    wanted = dict.fromkeys(t for v in changed for t in v.texts)
    index = {text: i for i, text in enumerate(wanted)}
    vectors = engine.reconstruct(list(wanted))
    made = {v.name: vectors[[index[t] for t in v.texts]] for v in changed}
    mse = {}
    for v in changed:
        error = mse_nrm(made[v.name], held.activations)
        mse[v.name] = error if v.rows is None else np.where(v.rows, error, np.nan)
    whole = mse[changed[0].name]
    unchanged = (changed[0].name, changed[0].name + BARE)
    found = [
        condition(v.name, mse[v.name], None if v.name in unchanged else whole, held.conversation, baselines)
        for v in changed
    ]
    return Ablated([c for c in found if c is not None], mse, made)


def condition(name: str, error: Floats, whole: Floats | None, clusters: Ints, baselines: Baselines) -> Condition | None:
    """The figures of one condition; None if it is defined on no row.

    Args:
        name: The condition.
        error: (n,) mse_nrm; NaN if undefined.
        whole: (n,) mse_nrm of the whole explanation; None if this is the condition itself.
        clusters: (n,) conversations.
        baselines: FVE denominators.
    """
    has = np.isfinite(error)
    if not has.any():
        return None
    own, rows = error[has], clusters[has]
    return Condition(
        name=name,
        fve_nrm=figure(1.0 - own / baselines.variance, rows),
        fve_meannorm=figure(1.0 - own / baselines.meannorm, rows),
        drop=None if whole is None else difference((own - whole[has]) / baselines.meannorm, rows),
    )


def mse_nrm(predicted: NDArray[np.float32], actual: NDArray[np.float32]) -> Floats:
    """(n,) 2 (1 - cos) of each row."""
    return np.asarray(2.0 * (1.0 - np.einsum("nd,nd->n", normalised(predicted), normalised(actual))))
