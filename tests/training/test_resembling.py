"""Words like the final one: near in the embedding, not forms of it, not recent."""

from __future__ import annotations

import pytest
import torch

from nla_eval.training.explanations.explain import Moment, Vocabulary
from nla_eval.training.explanations.explanation_parts import explain
from nla_eval.training.explanations.resembling import Resembling

PLACES = {
    "coach": (1.0, 0.0),
    "trainer": (0.9, 0.1),
    "trainers": (0.9, 0.11),
    "tutor": (0.8, 0.3),
    "coaching": (1.0, 0.01),
    "oven": (-1.0, 0.2),
    "bread": (-0.9, -0.6),
}
WORDS = list(PLACES)


class _Tokenizer:
    """One token a word; others become a piece for each letter."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        word = text.strip().lower()
        return {"input_ids": [WORDS.index(word)] if word in WORDS else [len(WORDS)] * len(word)}


@pytest.fixture
def resembling() -> Resembling:
    table = torch.tensor([*PLACES.values(), (0.0, 0.0)])
    return Resembling(table, _Tokenizer(), Vocabulary(dict.fromkeys([*WORDS, "zebulon"], 1.0), 2))


def _moment(text: str) -> Moment:
    return Moment(text, text.split()[-1], "response", "assistant", 0, (".",), recent_from=max(0, len(text) - 30))


def test_forms_of_a_word_are_left_out_and_two_forms_of_one_are_one(resembling: Resembling) -> None:
    assert resembling.of("Coach", 2) == ["trainer", "tutor"]


def test_recent_words_are_left_out(resembling: Resembling) -> None:
    assert resembling.completed(_moment("The trainer and the coach"), 2).like[0] == "tutor"


@pytest.mark.parametrize("text", ["Ask the coach.", "Ask the coach\n", "It is 1984"])
def test_only_a_word_is_like_others(resembling: Resembling, text: str) -> None:
    assert resembling.completed(_moment(text), 2).like == ()


def test_a_word_of_several_tokens_has_neighbours_too(resembling: Resembling) -> None:
    assert len(resembling.of("Zebulon", 3)) == 3


def test_an_explanation_names_them(resembling: Resembling) -> None:
    moment = resembling.completed(_moment("Ask the coach"), 3)
    assert explain(moment, Vocabulary({}, 1), [["like(2)"]]) == "like: trainer / tutor"
