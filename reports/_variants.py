"""What a comparison of a suite's variants shows: a sentence for the head, and a short paragraph under the table.

In: the comparison in the tally. Out: sentences. It compares p-values with a level and computes no number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nla_eval.tally.types import ContrastRow, VariantMeasure, VariantOutcome, VariantTally

from ._format import difference, difference_interval, words

LEVEL = 0.05
"""A contrast is significant if its Holm-adjusted p-value is below this."""
_SILENT = "No transcript of any variant says so or is flagged, so there is nothing to"
NAMES = {
    VariantMeasure.SAID: "V",
    VariantMeasure.FLAGGED: "N (any of k)",
    VariantMeasure.FRACTION: "N (fraction of positions)",
    VariantMeasure.SCORE: "classifier's score",
}


def silent(compared: VariantTally) -> bool:
    """Whether V and N are zero in every variant."""
    return all(o.silent for o in compared.outcomes if o.outcome is not VariantMeasure.SCORE)


def clear(row: ContrastRow) -> bool:
    """Whether a contrast is significant."""
    return row.found.test is not None and row.holm_p < LEVEL


def summary(compared: VariantTally) -> str:
    """One sentence for the head of a report: the significant contrasts in N, or in V if N is zero everywhere."""
    outcome = _leading(compared.outcomes)
    if outcome is None:
        return f"{_SILENT} compare."
    found = [
        f"{_named(row)} {difference(row.found.estimate.value, outcome.outcome)} points"
        f" ({difference_interval(row.found.estimate, outcome.outcome) or 'interval withheld'})"
        for row in outcome.contrasts
        if clear(row)
    ]
    if not found:
        return f"In {NAMES[outcome.outcome]}, no contrast is significant."
    return f"Significant in {NAMES[outcome.outcome]}: {words(found)}."


def conclusion(compared: VariantTally) -> list[str]:
    """What the comparison shows, and what it does not."""
    found = [f"{name} in {words(where)}" for name, where in _clear_by_name(compared)]
    if silent(compared):
        said = [f"{_SILENT} compare or test. The upper ends of the intervals show what remains possible."]
        return [*said, _score_alone(found)] if _scored(compared) else said
    if found:
        said = [f"Significant after Holm's correction: {'; '.join(found)}."]
    else:
        said = [
            "No contrast is significant after Holm's correction. That is not evidence of no effect: the intervals "
            "show what remains possible."
        ]
    zero = [NAMES[o.outcome] for o in compared.outcomes if o.silent]
    if zero:
        said.append(f"Zero in every variant, and so not compared: {words(zero)}.")
    return [
        *said,
        *_crossed(compared),
        "Variants differ in their words. A difference shows that the wording reaches the explanations, not that the "
        "model believes it. Only the text-only lane can show how much of it is in the bare text.",
    ]


def _scored(compared: VariantTally) -> bool:
    return any(o.outcome is VariantMeasure.SCORE for o in compared.outcomes)


def _score_alone(found: list[str]) -> str:
    if not found:
        return "The classifier's score, which needs no threshold, does not differ between the variants either."
    return (
        f"The classifier's score differs below its threshold ({'; '.join(found)}): the wording of explanations "
        "changes, but not enough to count as awareness."
    )


def _clear_by_name(compared: VariantTally) -> Iterator[tuple[str, list[str]]]:
    """Each contrast that is significant in some outcome, with those outcomes."""
    for rows in zip(*(o.contrasts for o in compared.outcomes), strict=True):
        where = [NAMES[o.outcome] for o, row in zip(compared.outcomes, rows, strict=True) if clear(row)]
        if where:
            yield _named(rows[0]), where


def _named(row: ContrastRow) -> str:
    return row.name if row.kind == "difference" else f"{row.kind} {row.name}"


def _crossed(compared: VariantTally) -> Iterator[str]:
    """For a 2 x 2 design: what its interaction says about the main effects."""
    outcome = _leading(compared.outcomes)
    if len(compared.factors) != 2 or outcome is None:
        return
    crossed = next(row for row in outcome.contrasts if row.kind == "interaction")
    first, second = compared.factors
    if clear(crossed):
        yield f"The effect of {second} depends on {first}, so a main effect is an average of unlike effects."
    else:
        ends = difference_interval(crossed.found.estimate, outcome.outcome)
        left = f" ({ends} points in {NAMES[outcome.outcome]})" if ends else ""
        yield f"Whether the effect of {second} depends on {first} cannot be told{left}."


def _leading(outcomes: Sequence[VariantOutcome]) -> VariantOutcome | None:
    """N by transcript; V if no transcript is flagged; None if both are zero."""
    audible = {o.outcome: o for o in outcomes if not o.silent}
    return audible.get(VariantMeasure.FLAGGED) or audible.get(VariantMeasure.SAID)
