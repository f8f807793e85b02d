"""Do several judges say the same of the same texts? Krippendorff's alpha over all, kappa and AC1 for every pair.

In: the frames of each judge under one rubric. An explanation counts once however often it was drawn; a part of a turn
counts once. Only AWARE, NOT_AWARE and UNCLEAR are compared. The pair of one model told its suite's line and told
another's is the measure of judge leakage (docs/method.md 4.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import polars as pl
from inspect_ai.scorer import SampleScore, Score, krippendorff_alpha

from ..judgement import JUDGED, Headline, Outcome, text_hash
from ..readings import KEY, StopReason
from ..stats.kappa import agreement_values
from .frames import TURN_KEY, Definitions, Frames, aware_columns, outcome_under
from .types import Agreement, PairAgreement

Verdicts = dict[tuple[object, ...], str]
"""A judge's outcome by text."""
Pairs = Sequence[tuple[str, str]]
"""Two judges' outcomes, text by text."""


def agreement(judged: Mapping[str, Frames], definitions: Definitions, headline: Headline) -> Agreement | None:
    """Compare judges.

    Args:
        judged: Frames by judge, all under the rubric of `definitions`.
        definitions: The rubric's headlines.
        headline: Under which outcomes are compared.

    Returns:
        None where no text was judged by more than one.
    """
    kinds = {
        "explanations": {name: _explanations(f, definitions, headline) for name, f in sorted(judged.items())},
        "turns": {name: _turns(f, definitions, headline) for name, f in sorted(judged.items())},
    }
    pairs = [
        compare_pair(of, (left, right), [(by[left][t], by[right][t]) for t in by[left] if t in by[right]])
        for of, by in kinds.items()
        for left, right in combinations(by, 2)
    ]
    pairs = [pair for pair in pairs if pair.texts]
    if not pairs:
        return None
    compared = {pair.of for pair in pairs}
    alphas = {of: _alpha(list(by.values())) for of, by in kinds.items() if of in compared}
    return Agreement(headline=headline, judges=sorted(judged), pairs=pairs, alpha=alphas)


def compare_pair(of: str, names: tuple[str, str], pairs: Pairs) -> PairAgreement:
    """How far two judges agree."""
    aware = Outcome.AWARE.value
    kappa, ac1 = agreement_values([left for left, _ in pairs], [right for _, right in pairs])
    return PairAgreement(
        of=of,
        left=names[0],
        right=names[1],
        texts=len(pairs),
        both=sum(left == right == aware for left, right in pairs),
        left_only=sum(left == aware != right for left, right in pairs),
        right_only=sum(right == aware != left for left, right in pairs),
        observed=_observed(pairs) if pairs else None,
        kappa=kappa,
        ac1=ac1,
    )


def _observed(pairs: Pairs) -> float:
    return sum(left == right for left, right in pairs) / len(pairs)


def _alpha(judges: Sequence[Verdicts]) -> float | None:
    """Krippendorff's alpha, nominal, over the texts that at least two judges judged."""
    texts = sorted({text for verdicts in judges for text in verdicts}, key=repr)
    return nominal_alpha([[verdicts[text] for verdicts in judges if text in verdicts] for text in texts])


def nominal_alpha(units: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha of nominal values, given by unit; None where it is undefined. Units of one value say
    nothing."""
    scores = [SampleScore(score=Score(value=list(unit))) for unit in units if len(unit) > 1]
    value = krippendorff_alpha()(scores)  # type: ignore[arg-type]  # the metric's older form is typed, not this one
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _explanations(frames: Frames, definitions: Definitions, headline: Headline) -> Verdicts:
    closed = frames.readings.filter(pl.col("stop") == StopReason.CLOSED.value).select(*KEY, "explanation")
    rows = frames.judgements.join(closed, on=list(KEY), how="inner")
    if "text_hash" in rows.columns:
        own = pl.Series([text_hash(text) for text in rows["explanation"]], dtype=pl.String())
        rows = rows.filter((pl.col("text_hash") == own).fill_null(True))
    return _outcomes(rows, ("explanation",), definitions, headline)


def _turns(frames: Frames, definitions: Definitions, headline: Headline) -> Verdicts:
    return _outcomes(frames.turns, TURN_KEY, definitions, headline)


def _outcomes(rows: pl.DataFrame, key: Sequence[str], definitions: Definitions, headline: Headline) -> Verdicts:
    judged = aware_columns(rows, definitions).filter(pl.col("outcome").is_in([o.value for o in JUDGED]))
    named = judged.select(*key, outcome_under(headline).alias("verdict")).sort(*key, "verdict")
    return {tuple(row[:-1]): str(row[-1]) for row in named.unique(list(key), keep="first").iter_rows()}
