"""The paired event on one transcript: NLA-measured (N) against verbalized (V).

Takes two aligned sequences of verdicts (True, False or None for INDETERMINATE), gives the 2x2 table, P(N | not V)
and McNemar's exact test. It does not know how a verdict came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .distributions import fair_coin_tail
from .interval import LEVEL, Estimate
from .wilson import wilson


@dataclass(frozen=True)
class PairTable:
    """Transcripts by N and V, both decided; the rest are counted in `undecided`."""

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
    """P(N | not V) with Wilson's interval: of the transcripts that say nothing, how many are flagged by the NLA."""
    return wilson(table.n_only, table.n_only + table.neither, level)


def mcnemar_exact(table: PairTable) -> float:
    """Two-sided exact McNemar p-value: a sign test on the discordant pairs (McNemar 1947).

    Returns 1.0 when there is no discordant pair. It asks whether N and V flag equally many transcripts, and treats
    transcripts as independent.
    """
    discordant = table.n_only + table.v_only
    if discordant == 0:
        return 1.0
    tail = fair_coin_tail(min(table.n_only, table.v_only), discordant)
    return min(1.0, 2 * tail)
