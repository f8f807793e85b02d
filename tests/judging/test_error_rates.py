"""A classifier's measured errors, as they stand beside every rate."""

from __future__ import annotations

from typing import ClassVar

from nla_eval.judgement import Headline, Judgement, Rubric
from nla_eval.judging.classify import load_rubric
from nla_eval.judging.error_rates import ErrorCounts, Errors, classifier_error_rates


class Unmeasured:
    name = "unmeasured@1"

    def __init__(self) -> None:
        self.rubric: Rubric = load_rubric("strict")

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        return []


class Measured(Unmeasured):
    errors: ClassVar[Errors] = {("turn", Headline.BELIEF): ErrorCounts(80, 100, 3, 300, 1, 1000)}


def test_rates_come_with_their_counts_and_intervals() -> None:
    rates = classifier_error_rates(Measured(), "turn", Headline.BELIEF)
    assert rates is not None
    assert (rates.recall.value, rates.specificity.value, rates.ordinary_specificity.value) == (0.8, 0.99, 0.999)
    assert rates.recall.low is not None
    assert 0.71 < rates.recall.low < 0.8
    assert rates.counts.positives == rates.recall.n == 100


def test_a_classifier_that_was_not_measured_has_no_rates() -> None:
    assert classifier_error_rates(Unmeasured(), "turn", Headline.BELIEF) is None
    assert classifier_error_rates(Measured(), "explanation", Headline.BELIEF) is None
