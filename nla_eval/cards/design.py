"""How to compare the variants of a suite: one factor with several levels, or two factors with two levels each (2 x 2).

A suite's card declares the design (`design: {format: [exam, chat], context: [evaluation, deployment]}`); a tally
estimates its contrasts within prompt families. This module knows no suite and computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

from pydantic import ConfigDict, RootModel, field_validator


@dataclass(frozen=True)
class PlannedContrast:
    """One comparison of a design."""

    kind: str
    """"difference" of two variants, "main effect" of a factor, or "interaction"."""
    name: str
    formula: str
    """The subtraction written out; same as the name for a difference."""
    weights: tuple[float, ...]
    """One weight per variant, in the order of `Design.variants`."""


class Design(RootModel[dict[str, tuple[str, ...]]]):
    """Maps each factor to its levels. A transcript's `variant` is its level; with two factors, both levels joined by
    an underscore."""

    model_config = ConfigDict(frozen=True)

    @field_validator("root")
    @classmethod
    def _comparable(cls, factors: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        sizes = [len(levels) for levels in factors.values()]
        if not (len(sizes) == 1 and sizes[0] >= 2) and sizes != [2, 2]:
            raise ValueError("a design is one factor of at least two levels, or two factors of two levels each")
        if len(set(_joined(factors))) != len(_joined(factors)):
            raise ValueError("two variants of the design have the same name; rename a level")
        return factors

    @property
    def variants(self) -> tuple[str, ...]:
        """Every variant; the first factor varies slowest."""
        return _joined(self.root)

    def contrasts(self) -> tuple[PlannedContrast, ...]:
        """All pairwise differences of variants. For a 2 x 2: also the interaction and both main effects, each averaged
        over the other factor."""
        if len(self.root) == 1:
            return tuple(_difference(self.variants, *pair) for pair in combinations(range(len(self.variants)), 2))
        (first, (a, b)), (second, (x, y)) = self.root.items()
        effects = [
            ("interaction", f"{first} × {second}", f"({a}, {x} − {a}, {y}) − ({b}, {x} − {b}, {y})", (1, -1, -1, 1)),
            ("main effect", first, f"{a} − {b}", (0.5, 0.5, -0.5, -0.5)),
            ("main effect", second, f"{x} − {y}", (0.5, -0.5, 0.5, -0.5)),
        ]
        return tuple(PlannedContrast(kind, name, formula, weights) for kind, name, formula, weights in effects)


def _joined(factors: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple("_".join(levels) for levels in product(*factors.values()))


def _difference(variants: Sequence[str], left: int, right: int) -> PlannedContrast:
    weights = tuple(float(i == left) - float(i == right) for i in range(len(variants)))
    name = f"{variants[left]} − {variants[right]}"
    return PlannedContrast("difference", name, name, weights)
