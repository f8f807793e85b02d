"""What may be concluded from a suite's variants: a sentence for the head, a short paragraph under their table.

In: the comparison as the tally holds it. Out: sentences. It compares numbers with a level and makes none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nla_eval.tally.types import ContrastRow, VariantMeasure, VariantOutcome, VariantTally

from ._format import difference, difference_interval, words

LEVEL = 0.05
"""Holm-adjusted p-values below this are called clear of zero."""
_SILENT = "No transcript of any variant says so, and none is flagged:"
NAMES = {
    VariantMeasure.SAID: "V",
    VariantMeasure.FLAGGED: "N (any of k)",
    VariantMeasure.FRACTION: "N (fraction of positions)",
    VariantMeasure.SCORE: "classifier's score",
}


def silent(compared: VariantTally) -> bool:
    """Whether nothing was said and nothing flagged in any variant."""
    return all(o.silent for o in compared.outcomes if o.outcome is not VariantMeasure.SCORE)


def clear(row: ContrastRow) -> bool:
    """Whether a contrast stands clear of zero."""
    return row.found.test is not None and row.holm_p < LEVEL


def summary(compared: VariantTally) -> str:
    """One sentence for the head of a report: the contrasts in N, or in V where N is silent."""
    outcome = _leading(compared.outcomes)
    if outcome is None:
        return f"{_SILENT} there is nothing to compare."
    found = [
        f"{_named(row)} {difference(row.found.estimate.value, outcome.outcome)} points"
        f" ({difference_interval(row.found.estimate, outcome.outcome) or 'interval withheld'})"
        for row in outcome.contrasts
        if clear(row)
    ]
    if not found:
        return f"In {NAMES[outcome.outcome]}, no contrast stands clear of zero."
    return f"Clear of zero in {NAMES[outcome.outcome]}: {words(found)}."


def conclusion(compared: VariantTally) -> list[str]:
    """What may be concluded, and what not."""
    found = [f"{name} in {words(where)}" for name, where in _clear_by_name(compared)]
    if silent(compared):
        said = [f"{_SILENT} there is nothing to compare, and no test is made. Upper ends show what is left open."]
        return [*said, _score_alone(found)] if _scored(compared) else said
    if found:
        said = [f"Clear of zero after Holm's correction: {'; '.join(found)}."]
    else:
        said = [
            "No contrast stands clear of zero after Holm's correction. That is not evidence of no effect: intervals "
            "say what is left open."
        ]
    zero = [NAMES[o.outcome] for o in compared.outcomes if o.silent]
    if zero:
        said.append(f"Zero in every variant, so that there is nothing to compare: {words(zero)}.")
    return [
        *said,
        *_crossed(compared),
        "Variants differ in their words: a difference says that the wording reaches the reading, not that the model "
        "believes it; how much of it a reader of the bare text would find is for the text-only lane to say.",
    ]


def _scored(compared: VariantTally) -> bool:
    return any(o.outcome is VariantMeasure.SCORE for o in compared.outcomes)


def _score_alone(found: list[str]) -> str:
    if not found:
        return "The classifier's score, which has no threshold to cross, does not tell the variants apart either."
    return (
        f"Below its threshold the classifier's score moves ({'; '.join(found)}): the wording of explanations drifts, "
        "which is not yet a reading of awareness."
    )


def _clear_by_name(compared: VariantTally) -> Iterator[tuple[str, list[str]]]:
    """Each contrast that is clear of zero in some outcome, with those outcomes."""
    for rows in zip(*(o.contrasts for o in compared.outcomes), strict=True):
        where = [NAMES[o.outcome] for o, row in zip(compared.outcomes, rows, strict=True) if clear(row)]
        if where:
            yield _named(rows[0]), where


def _named(row: ContrastRow) -> str:
    return row.name if row.kind == "difference" else f"{row.kind} {row.name}"


def _crossed(compared: VariantTally) -> Iterator[str]:
    """Of a 2 x 2, what its interaction allows to say of the main effects."""
    outcome = _leading(compared.outcomes)
    if len(compared.factors) != 2 or outcome is None:
        return
    crossed = next(row for row in outcome.contrasts if row.kind == "interaction")
    first, second = compared.factors
    if clear(crossed):
        yield f"The effect of {second} depends on {first}, so that main effects average over unlike halves."
    else:
        ends = difference_interval(crossed.found.estimate, outcome.outcome)
        left = f" ({ends} points in {NAMES[outcome.outcome]})" if ends else ""
        yield f"Whether the effect of {second} depends on {first} cannot be told{left}."


def _leading(outcomes: Sequence[VariantOutcome]) -> VariantOutcome | None:
    """N by transcript, or V where no transcript is flagged; None where neither has any."""
    audible = {o.outcome: o for o in outcomes if not o.silent}
    return audible.get(VariantMeasure.FLAGGED) or audible.get(VariantMeasure.SAID)
