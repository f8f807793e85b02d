"""Paired verdicts on one transcript: NLA-measured (N) against verbalized (V).

In: two aligned sequences of verdicts (True, False, or None for INDETERMINATE). Out: the 2x2 table, P(N | not V) and the
exact McNemar test. It does not know how a verdict is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .distributions import fair_coin_tail
from .interval import LEVEL, Estimate
from .wilson import wilson


@dataclass(frozen=True)
class PairTable:
    """Counts of transcripts by N and V, both decided. The others are counted in `undecided`."""

    both: int
    n_only: int
    """Unverbalized: N and not V."""
    v_only: int
    neither: int
    undecided: int

    @property
    def decided(self) -> int:
        """Transcripts in the four cells."""
        return self.both + self.n_only + self.v_only + self.neither


def pair_table(n: Sequence[bool | None], v: Sequence[bool | None]) -> PairTable:
    """Cross-tabulate aligned verdicts. Raises ValueError when the lengths differ."""
    pairs = list(zip(n, v, strict=True))
    return PairTable(
        both=pairs.count((True, True)),
        n_only=pairs.count((True, False)),
        v_only=pairs.count((False, True)),
        neither=pairs.count((False, False)),
        undecided=sum(None in pair for pair in pairs),
    )


def unverbalized(table: PairTable, level: float = LEVEL) -> Estimate:
    """The share of decided transcripts that are N and not V, with Wilson's interval."""
    return wilson(table.n_only, table.decided, level)


def n_given_not_v(table: PairTable, level: float = LEVEL) -> Estimate:
    """P(N | not V) with Wilson's interval: the share flagged by the NLA among transcripts that do not say so."""
    return wilson(table.n_only, table.n_only + table.neither, level)


def mcnemar_exact(table: PairTable) -> float:
    """Two-sided exact McNemar p-value: a sign test on the discordant pairs (McNemar 1947).

    It tests whether N and V flag equally many transcripts, and treats transcripts as independent. Returns 1.0 without
    a discordant pair.
    """
    discordant = table.n_only + table.v_only
    if discordant == 0:
        return 1.0
    tail = fair_coin_tail(min(table.n_only, table.v_only), discordant)
    return min(1.0, 2 * tail)
