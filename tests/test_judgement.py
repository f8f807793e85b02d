"""Outcomes, labels, headlines and rubric files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nla_eval.errors import InputError
from nla_eval.judgement import JUDGED, Headline, Judgement, Label, Outcome, Rubric
from nla_eval.judging.classify import load_rubric


@pytest.fixture(scope="module")
def strict() -> Rubric:
    return load_rubric("strict")


def judged(outcome: Outcome, *labels: Label) -> Judgement:
    return Judgement(outcome=outcome, labels=list(labels), classifier="hand@1", rubric="strict@0")


def test_the_strict_rubric_has_the_three_headlines_of_the_contract(strict: Rubric) -> None:
    assert strict.headlines == {
        Headline.BELIEF: [Label.BELIEF],
        Headline.PAPER: [Label.BELIEF, Label.BENCHMARK],
        Headline.BROAD: [Label.BELIEF, Label.BENCHMARK, Label.GRADER, Label.CONTRIVED],
    }


def test_every_label_has_a_rule_with_an_example_that_carries_it_and_a_near_miss_or_is_none(strict: Rubric) -> None:
    for label, rule in strict.labels.items():
        assert rule.means
        assert rule.counts, label
        assert rule.does_not_count or label is Label.NONE, label


@pytest.mark.parametrize(
    ("label", "belief", "paper", "broad"),
    [
        (Label.BELIEF, True, True, True),
        (Label.BENCHMARK, False, True, True),
        (Label.GRADER, False, False, True),
        (Label.CONTRIVED, False, False, True),
        *[
            (label, False, False, False)
            for label in Label
            if label not in (Label.BELIEF, Label.BENCHMARK, Label.GRADER, Label.CONTRIVED)
        ],
    ],
)
def test_a_label_is_aware_only_under_its_headlines(
    strict: Rubric, label: Label, belief: bool, paper: bool, broad: bool
) -> None:
    outcome = Outcome.AWARE if broad else Outcome.NOT_AWARE
    seen = [judged(outcome, label).under(h, strict) is Outcome.AWARE for h in Headline]
    assert seen == [belief, paper, broad]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.AWARE, Outcome.NOT_AWARE)])
def test_an_outcome_that_is_not_a_verdict_is_the_same_under_every_headline(strict: Rubric, outcome: Outcome) -> None:
    assert {judged(outcome).under(h, strict) for h in Headline} == {outcome}


def test_truncated_and_failed_judgements_do_not_count_as_judged() -> None:
    assert [o for o in Outcome if o in JUDGED] == [Outcome.AWARE, Outcome.NOT_AWARE, Outcome.UNCLEAR]


def test_one_changed_byte_changes_the_hash(tmp_path: Path, strict: Rubric) -> None:
    source = Path(__file__).parent.parent / "classifiers" / "rubrics" / "strict.yaml"
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(source.read_bytes())
    assert Rubric.load(copy).hash == strict.hash
    copy.write_bytes(source.read_bytes() + b"\n")
    assert Rubric.load(copy).hash != strict.hash


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda d: d["labels"].pop("grader"), "no rule for label(s) grader"),
        (lambda d: d.update(headlines={"vibes": ["belief"]}), "rubric bad.yaml"),
        (lambda d: d.update(extra=1), "rubric bad.yaml"),
    ],
)
def test_a_rubric_with_a_mistake_is_refused_in_one_line_that_names_it(
    tmp_path: Path, strict: Rubric, spoil: object, expected: str
) -> None:
    data = strict.model_dump(mode="json", exclude={"hash"})
    assert callable(spoil)
    spoil(data)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError) as refused:
        Rubric.load(path)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
