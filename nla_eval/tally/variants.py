"""Compares the variants of one suite within items: means by variant, and the design's contrasts in every outcome.

In: a design, and one value per transcript and outcome. Out: a `VariantTally`. It knows no suite by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from ..cards.design import Design
from ..stats.bootstrap import Floats, cluster_mean
from ..stats.contrast import item_means, within_items
from ..stats.holm import holm
from ..stats.interval import Estimate, Resampling
from .types import ContrastRow, VariantMeasure, VariantOutcome, VariantTally


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of the transcripts of one suite. All lists are aligned."""

    items: Sequence[Hashable]
    """Item (prompt family) of each transcript. All variants share it."""
    variants: Sequence[str | None]
    values: Mapping[VariantMeasure, Sequence[float | None]]
    """Values in [0, 1]; None for an undecided transcript."""


def compare(design: Design, outcomes: Outcomes, how: Resampling) -> VariantTally | None:
    """Estimate every contrast in every outcome that has a value.

    Returns:
        None if fewer than two of the design's variants were read.
    """
    read = defaultdict(set)
    for item, variant in zip(outcomes.items, outcomes.variants, strict=True):
        if variant in design.variants:
            read[item].add(variant)
    if len(set().union(*read.values())) < 2:
        return None
    return VariantTally(
        factors={factor: list(levels) for factor, levels in design.root.items()},
        variants=list(design.variants),
        items=len(read),
        complete=sum(len(variants) == len(design.variants) for variants in read.values()),
        outcomes=[
            VariantOutcome(
                outcome=name,
                means=[_mean(values, variant, outcomes, how) for variant in design.variants],
                contrasts=_contrasts(
                    design, item_means(values, outcomes.items, outcomes.variants, design.variants), how
                ),
            )
            for name, values in outcomes.values.items()
            if any(value is not None for value in values)
        ],
    )


def _contrasts(design: Design, cells: Floats, how: Resampling) -> list[ContrastRow]:
    planned = design.contrasts()
    found = [within_items(cells, contrast.weights, how) for contrast in planned]
    adjusted = holm([contrast.test.p_value if contrast.test else 1.0 for contrast in found])
    return [
        ContrastRow(kind=p.kind, name=p.name, formula=p.formula, found=c, holm_p=holm_p)
        for p, c, holm_p in zip(planned, found, adjusted, strict=True)
    ]


def _mean(values: Sequence[float | None], variant: str, outcomes: Outcomes, how: Resampling) -> Estimate:
    rows = zip(values, outcomes.variants, outcomes.items, strict=True)
    kept = [(float(value), item) for value, of, item in rows if of == variant and value is not None]
    return cluster_mean([value for value, _ in kept], [item for _, item in kept], how)
