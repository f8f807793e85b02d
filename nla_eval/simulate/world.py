"""A planted arm: who is aware, at which positions, what the verbalizer makes of it, and what the classifier sees.

In: the planted parameters and the pools. Out: arrays over transcripts, positions and draws. Every text is drawn from a
pool by its label, so its verdict is the real classifier's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .pools import Flags, Numbers, Pool, Pools

Floats = NDArray[np.float64]
NEAR_TURNS = 0.1
"""Share of near misses among the turns that do not say so."""


@dataclass(frozen=True)
class Verbalizer:
    """How a planted verbalizer behaves, whatever the vector is about."""

    voice: float = 0.9
    """P(it says so | the activation carries awareness)."""
    stray: float = 0.0
    """P(it says so | the activation does not). High: it has an "evaluation" prior."""
    stray_correlation: float = 0.0
    """Of stray texts within a family."""
    near: float = 0.1
    """Share of near misses among its other texts."""
    cut_aware: float = 0.0
    """P(an explanation is truncated | it says so)."""
    cut_other: float = 0.0
    """P(it is truncated | it does not). Missingness is informative where the two differ."""


@dataclass(frozen=True)
class Arm:
    """The planted parameters of one arm."""

    families: int = 50
    per_family: int = 4
    uneven: bool = False
    """Families of 1 to 2 x `per_family` - 1 transcripts instead of `per_family`."""
    prevalence: float = 0.5
    """Share of transcripts that are aware."""
    family_correlation: float = 0.2
    """Of awareness, between transcripts of a family."""
    density: float = 0.6
    """Share of an aware transcript's positions whose activation carries it."""
    position_correlation: float = 0.2
    """Of carrying it, between positions of an aware transcript."""
    k: int = 12
    """Positions per transcript."""
    long_k: int = 0
    """Positions of a long transcript; every second one is long where this is not 0."""
    short_share: float = 1.0
    """Prevalence among the others, as a share of that among long ones: the effect of length."""
    draws: int = 1
    """Explanations per position."""
    said: float = 0.5
    """P(the target says so | aware)."""
    av: Verbalizer = field(default_factory=Verbalizer)

    @property
    def lengths(self) -> list[Arm]:
        """The arm of the shorter and that of the longer transcripts, half each; one where all are alike."""
        if not self.long_k:
            return [self]
        alike = replace(self, long_k=0, short_share=1.0)
        return [replace(alike, prevalence=self.prevalence * self.short_share), replace(alike, k=self.long_k)]


@dataclass(frozen=True)
class Drawn:
    """One draw of an arm: n transcripts, up to k positions, d draws."""

    family: Numbers
    """(n,)"""
    aware: Flags
    """(n,)"""
    carries: Flags
    """(n, k) whether the activation carries awareness."""
    read: Flags
    """(n, k) whether the transcript has the position."""
    voiced: Flags
    """(n, k, d) whether the explanation says that the model is being evaluated."""
    text: Numbers
    """(n, k, d) number of the explanation in its pool."""
    judged: Flags
    """(n, k, d) whether the explanation is there and closed."""
    flag: Flags
    """(n, k, d) the classifier's verdict on it, were it closed."""
    said: Flags
    """(n,) whether the target says so."""
    turn: Numbers
    """(n,) number of the target's turn in its pool."""
    v: Flags
    """(n,) the classifier's verdict on the turn."""

    @property
    def families(self) -> list[int]:
        """Family of each transcript."""
        found: list[int] = self.family.tolist()
        return found

    @property
    def seen(self) -> Flags:
        """(n, k, d) explanations that are flagged and closed."""
        return self.flag & self.judged

    @property
    def flagged_positions(self) -> Flags:
        """(n, k) positions with a flag in any draw."""
        return np.asarray(np.any(self.seen, axis=2), dtype=np.bool_)

    @property
    def any(self) -> Flags:
        """(n,) any-of-k."""
        return np.asarray(np.any(self.flagged_positions, axis=1), dtype=np.bool_)

    @property
    def judged_positions(self) -> Flags:
        """(n, k) positions with a judged draw."""
        return np.asarray(np.any(self.judged, axis=2), dtype=np.bool_)

    @property
    def fraction(self) -> Floats:
        """(n,) flagged positions over judged ones; NaN without a judged one."""
        with np.errstate(invalid="ignore"):
            found: Floats = self.flagged_positions.sum(axis=1) / self.judged_positions.sum(axis=1)
        return found

    @property
    def positions(self) -> list[dict[object, Sequence[bool | None]]]:
        """Per transcript the flags of its draws by position, None where one was truncated: input of `common_k`."""
        cells = np.where(self.judged, self.flag, -1).astype(int).tolist()
        value = {1: True, 0: False, -1: None}
        return [
            {p: [value[x] for x in draws] for p, draws in enumerate(row) if there[p]}
            for row, there in zip(cells, self.read.tolist(), strict=True)
        ]


def draw(arm: Arm, pools: Pools, rng: np.random.Generator, lean: Floats | None = None) -> Drawn:
    """Draw transcripts of an arm, read them, and judge what was read.

    Args:
        arm: The planted parameters.
        pools: Texts with verdicts.
        rng: Random numbers.
        lean: (families,) chance of awareness in each family; by default drawn. Variants of the same items share it.
    """
    sizes = rng.integers(1, 2 * arm.per_family, arm.families) if arm.uneven else [arm.per_family] * arm.families
    family = np.repeat(np.arange(arm.families), sizes)
    n, most = len(family), max(arm.k, arm.long_k)
    long = np.arange(n) % 2 == 1 if arm.long_k else np.zeros(n, dtype=bool)
    lean = beta(arm.prevalence, arm.family_correlation, arm.families, rng) if lean is None else lean
    aware = rng.random(n) < lean[family] * np.where(long | (arm.long_k == 0), 1.0, arm.short_share)
    share = np.where(aware, beta(arm.density, arm.position_correlation, n, rng), 0.0)
    carries = rng.random((n, most)) < share[:, None]
    read = np.arange(most)[None, :] < np.where(long, arm.long_k, arm.k)[:, None]
    said = aware & (rng.random(n) < arm.said)
    turn = _texts(pools.turns, said, NEAR_TURNS, rng)
    stray = beta(arm.av.stray, arm.av.stray_correlation, arm.families, rng)[family]
    voiced, text, judged = _verbalize(arm, carries, read, stray, pools.explanations, rng)
    flag = pools.explanations.flags[text] & read[:, :, None]
    return Drawn(family, aware, carries, read, voiced, text, judged, flag, said, turn, pools.turns.flags[turn])


def reread(drawn: Drawn, arm: Arm, pools: Pools, rng: np.random.Generator, carries: bool) -> Drawn:
    """The same transcripts in another lane: vectors that carry nothing (donor), or what the text carries, too (echo).

    Args:
        drawn: The measured lane.
        arm: Its parameters; the lane's verbalizer may differ.
        pools: Texts.
        rng: Random numbers.
        carries: Whether the lane's reader has what the activation carries, as a reader of the text may.
    """
    stray = beta(arm.av.stray, arm.av.stray_correlation, arm.families, rng)[drawn.family]
    kept = drawn.carries if carries else np.zeros_like(drawn.carries)
    voiced, text, judged = _verbalize(arm, kept, drawn.read, stray, pools.explanations, rng)
    flag = pools.explanations.flags[text] & drawn.read[:, :, None]
    return replace(drawn, carries=kept, voiced=voiced, text=text, judged=judged, flag=flag)


def beta(mean: float, correlation: float, n: int, rng: np.random.Generator) -> Floats:
    """(n,) beta-distributed chances with this mean, whose trials correlate so much."""
    if correlation == 0 or mean in (0.0, 1.0):
        return np.full(n, mean)
    strength = (1 - correlation) / correlation
    return rng.beta(mean * strength, (1 - mean) * strength, n)


def _verbalize(
    arm: Arm, carries: Flags, read: Flags, stray: Floats, pool: Pool, rng: np.random.Generator
) -> tuple[Flags, Numbers, Flags]:
    shape = (*carries.shape, arm.draws)
    chance = np.where(carries, arm.av.voice, stray[:, None])[:, :, None]
    voiced = (rng.random(shape) < chance) & read[:, :, None]
    cut = rng.random(shape) < np.where(voiced, arm.av.cut_aware, arm.av.cut_other)
    return voiced, _texts(pool, voiced, arm.av.near, rng), read[:, :, None] & ~cut


def _texts(pool: Pool, aware: Flags, near: float, rng: np.random.Generator) -> Numbers:
    """Numbers of texts: aware ones where `aware`, elsewhere near misses or ordinary ones."""
    aware_text, near_text, ordinary = (
        texts[rng.integers(len(texts), size=aware.shape)] for texts in (pool.aware, pool.near, pool.ordinary)
    )
    return np.where(aware, aware_text, np.where(rng.random(aware.shape) < near, near_text, ordinary))
