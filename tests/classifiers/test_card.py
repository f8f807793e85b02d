"""The classifier's card: it belongs to the committed model, and what the repository can say again is the same."""

from __future__ import annotations

import pytest
from nla_eval.classifiers import card as card_module
from nla_eval.classifiers._card_page import page
from nla_eval.classifiers._features import KINDS, load_models, model_hash
from nla_eval.classifiers.card import PAGE, TURN_SOURCES, frozen_figures, make_card, read_card
from nla_eval.classifiers.linear import Linear

from nla_eval.errors import InputError
from nla_eval.judgement import Headline
from nla_eval.judging.classify import load_rubric
from nla_eval.judging.error_rates import classifier_error_rates

CARD = read_card()


def test_the_card_is_of_the_committed_model_rubric_and_thresholds() -> None:
    rubric = load_rubric("strict")
    assert CARD["model"] == model_hash()
    assert CARD["classifier"] == Linear.name
    assert CARD["rubric"] == f"{rubric.id}@{rubric.hash}"
    assert CARD["thresholds"] == {kind: model.thresholds for kind, model in load_models().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_on_the_frozen_sets_are_what_the_committed_model_gives(kind: str) -> None:
    assert frozen_figures(Linear(load_rubric("strict")), kind) == CARD["frozen"][kind]


def test_the_page_is_made_of_the_card() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(CARD)


def test_a_card_of_another_model_is_not_made_without_the_shared_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_module, "model_hash", lambda: "0" * 16)
    with pytest.raises(InputError, match="--shared-data"):
        make_card(None, looks=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headline", Headline)
def test_the_classifier_carries_its_errors(kind: str, headline: Headline) -> None:
    rates = classifier_error_rates(Linear(load_rubric("strict")), kind, headline)  # type: ignore[arg-type]
    assert rates is not None
    assert rates.counts.positives >= 150
    assert rates.counts.negatives >= 500
    assert rates.counts.ordinary >= 1_600


def test_false_flags_on_real_texts_are_within_their_bounds() -> None:
    """At most 3 per 1,000 real assistant turns and 5 per 1,000 real explanations, under the broadest headline."""
    for kind, bound in (("turn", 0.003), ("explanation", 0.005)):
        sources = CARD["real"][kind].values()
        assert sum(s["broad"] for s in sources) <= bound * sum(s["n"] for s in sources)
    assert set(CARD["real"]["turn"]) == set(TURN_SOURCES)
