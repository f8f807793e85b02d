"""The twenty known texts: as the method asks for, not trained on, and told apart by the offline classifiers."""

from __future__ import annotations

import json
from collections import Counter

import anyio
import pytest

from nla_eval._rooms import room_path
from nla_eval.judgement import Headline, Outcome
from nla_eval.judging.classify import load_rubric, make_classifier
from nla_eval.judging.known_texts import check_members, known_texts


def test_there_are_ten_aware_and_ten_not_of_both_kinds() -> None:
    rubric = load_rubric()
    sides = Counter((known.kind, rubric.aware(known.label, Headline.PAPER)) for known in known_texts())
    assert sides == {(kind, side): 5 for kind in ("turn", "explanation") for side in (True, False)}
    assert len({known.text for known in known_texts()}) == 20


def test_no_classifier_was_trained_or_measured_on_them() -> None:
    own = {known.text for known in known_texts()}
    for path in sorted((room_path("classifiers") / "data").glob("*.jsonl")):
        if path.name != "known_texts.jsonl":
            assert not own & {json.loads(line)["text"] for line in path.read_text().splitlines()}, path.name


@pytest.mark.parametrize("name", ["lexicon", "linear"])
def test_the_offline_classifiers_pass(name: str) -> None:
    [check] = anyio.run(check_members, make_classifier(name))
    assert (check.texts, check.stopped) == (20, "")
    assert check.not_aware.get(Outcome.AWARE, 0) == 0
