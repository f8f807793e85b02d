"""Claims of plain explanations: their truth from a context, their sentences, and how often they hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nla_eval.cards.yaml_file import read_yaml
from nla_eval.measure.card import record_text
from nla_eval.measure.claims import CLAIMS, TOPICS, Spot, topic_of
from nla_eval.measure.held_out import HeldOut
from nla_eval.measure.record import HeldOutFacts, Record
from nla_eval.measure.said import said_claims
from nla_eval.measure.sentences import said_in, sentences_of
from nla_eval.measure.tasks import said_next

CHAT = (
    "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nHow do I bake bread with flour and butter?"
    "<|im_end|>\n<|im_start|>assistant\nFirst warm the oven, then mix flour and sugar, and let the dough rest"
)
VALUES = {
    "speaker": (None, "response", "tool_call", "before user"),
    "form": (None, "list", "prose"),
    "place": (None, "far"),
    "topic": (None, "food", "files"),
    "before": (None, "dough", "[assistant]", '("'),
}


def spot(context: str = CHAT, channel: str = "response", token: str = " rest") -> Spot:
    return Spot(context, channel, len(context) - len(token))


def truth(at: Spot) -> dict[str, str | None]:
    return {claim.name: claim.value(at) for claim in CLAIMS}


def test_the_truth_of_every_claim_at_one_position() -> None:
    assert truth(spot()) == {
        "speaker": "response", "form": "prose", "place": "start", "topic": "food", "wider": "living",
        "before": "dough",
    }  # fmt: skip


def test_a_turn_that_begins() -> None:
    found = truth(spot(CHAT + "<|im_end|>\n<|im_start|>user\n", "template", "\n"))
    assert (found["speaker"], found["form"], found["place"]) == ("before user", None, None)
    assert truth(spot(CHAT + "<|im_end|>", "template", "<|im_end|>"))["speaker"] is None


def test_nothing_is_claimed_of_no_text() -> None:
    found = truth(Spot("", "user", 0))
    assert [found[name] for name in ("form", "topic", "wider", "before")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Bake the bread with flour, butter and sugar in the oven, then add the sauce.", "food"),
        ("def run(): return None  # import the module, call the function, catch the error", "programming"),
        ("The king sent his soldiers to war; the roman empire fell within a century.", "history"),
        ("Hello there, how are you?", None),
        ("code code code code code", None),
        ("", None),
    ],
)
def test_a_subject_is_named_where_several_of_its_words_lead(text: str, subject: str | None) -> None:
    assert topic_of(text) == subject


def test_a_system_message_gives_a_subject_only_while_it_is_read() -> None:
    system = "<|im_start|>system\nBake bread with flour, butter and sugar in the oven"
    assert truth(spot(system, "system", " oven"))["topic"] == "food"
    assert truth(spot(system + "<|im_end|>\n<|im_start|>user\nHello", "user", "Hello"))["topic"] is None


def test_no_subject_is_about_evaluation_and_none_is_named_twice() -> None:
    known = read_yaml(TOPICS)
    phrases = [entry["phrase"] for entry in known["topics"].values()] + list(known["wider"].values())
    assert len(set(phrases)) == len(phrases)
    said = " ".join([*phrases, *(entry["words"] for entry in known["topics"].values())]).split()
    banned = {"test", "tests", "testing", "evaluation", "evaluate", "evaluated", "benchmark", "exam", "audit"}
    assert not banned & set(said)
    assert {entry["wider"] for entry in known["topics"].values()} <= set(known["wider"])


@pytest.mark.parametrize("choice", range(0, 4000, 97))
def test_claims_come_back_from_their_sentences_in_every_wording(choice: int) -> None:
    for values in itertools.product(*VALUES.values()):
        claims = {name: value for name, value in zip(VALUES, values, strict=True) if value is not None}
        text = sentences_of("rest", ["for", "."], claims, choice)
        assert said_in(text).claims == claims, text
        assert said_in(text).token == "rest"
        assert said_next(text) == "for"
        assert len(text.splitlines()) <= 4


@pytest.mark.parametrize("token", ['"', '("', "it's", "'", ",", "newline", "“", "after", "."])
@pytest.mark.parametrize("choice", [0, 11, 22, 13, 26, 37])
def test_any_token_comes_back(token: str, choice: int) -> None:
    text = sentences_of(token, [token, "b"], {"before": token}, choice)
    assert said_next(text) == token
    assert said_in(text).token == token
    assert said_in(text).claims == {"before": token}


def test_a_wider_subject_is_said_where_no_subject_is() -> None:
    assert said_in(sentences_of("a", ["b"], {"wider": "living"}, 3)).claims == {"wider": "living"}
    assert said_in(sentences_of("a", ["b"], {"wider": "living", "topic": "food"}, 3)).claims == {"topic": "food"}


@pytest.mark.parametrize("text", ["", "next: to / the\nafter: go", "The model thinks of bread.", '"', "after"])
def test_other_texts_claim_nothing(text: str) -> None:
    assert said_in(text).claims == {}


def held(contexts: list[str]) -> HeldOut:
    n = len(contexts)
    return HeldOut(
        kind="planted", activations=np.zeros((n, 2), np.float32), contexts=contexts,
        starts=[np.array([len(c) - len(" rest")], np.int64) for c in contexts], continuations=[""] * n,
        roles=["response"] * n, next_token=["for"] * n, conversation=np.arange(n), references=[""] * n,
    )  # fmt: skip


def test_true_claims_count_as_true_and_shuffled_ones_do_not() -> None:
    """Half of the explanations say the subject; a third of these name another."""
    contexts = [CHAT if i % 2 else CHAT.replace("dough rest", "function rest") for i in range(60)]
    said = []
    for i, context in enumerate(contexts):
        claims = {name: v for name, v in truth(spot(context)).items() if v is not None and name == "before"}
        if i % 2:
            claims["topic"] = "history" if i % 3 == 0 else "food"
        said.append(sentences_of("rest", ["for"], claims, i))
    found = {claim.name: claim for claim in said_claims(held(contexts), said)}
    right = {name: claim.true.value for name, claim in found.items() if claim.true is not None}
    assert right == {"token": 1.0, "topic": pytest.approx(2 / 3), "before": 1.0}
    assert found["topic"].made.value == 0.5
    assert found["before"].by_chance is not None
    assert found["before"].by_chance.value < 0.8


def test_a_context_without_a_value_decides_nothing() -> None:
    bare = CHAT.replace("bread with flour and butter", "it").replace("flour and sugar", "it").replace("oven", "room")
    found = said_claims(held([bare] * 20), [sentences_of("rest", ["a"], {"topic": "food"}, i) for i in range(20)])
    (topic,) = [claim for claim in found if claim.name == "topic"]
    assert topic.true is None
    assert topic.undecided == 20


def test_the_card_shows_each_claim() -> None:
    said = [sentences_of("rest", ["a"], {"speaker": "response", "topic": "history"}, i) for i in range(20)]
    record = Record(
        pack="planted", target="planted", layer=1, figures={}, conditions=[], said=said_claims(held([CHAT] * 20), said),
        held_out=HeldOutFacts(kind="planted", rows=20, conversations=20, digest="0"),
    )  # fmt: skip
    text = record_text(Record.model_validate_json(record.model_dump_json()))
    assert "| speaker | 1.000" in text
    assert "| topic | 1.000 [0.861, 1.000] | 0.000" in text


def test_explanations_in_another_form_are_not_counted() -> None:
    assert said_claims(held([CHAT] * 10), ["assistant turn 1, prose; now: rest"] * 10) == []
