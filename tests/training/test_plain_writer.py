"""Plain explanations: facts in sentences, and a claim only where an activation holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nla_eval.cards.yaml_file import read_yaml
from nla_eval.measure.tasks import said_next
from nla_eval.training.config import TrainConfig
from nla_eval.training.explanations.claims import (
    CLAIMS,
    TOPICS,
    before,
    exchange,
    form,
    frequent,
    place,
    speaker,
    topic_of,
    wider,
)
from nla_eval.training.explanations.explain import Moment
from nla_eval.training.explanations.readable import NOTHING, read
from nla_eval.training.explanations.sentences import sentences_of
from nla_eval.training.writers import WRITERS, Request, WriterContext
from tests.training.test_explain import moment, vocabulary

ROWS, WIDTH = 600, 24
CONVERSATION = np.repeat(np.arange(ROWS // 6), 6)


def planted(strength: float) -> tuple[np.ndarray, list[str | None]]:
    """Activations with one of three values along a direction each, and the values."""
    random = np.random.default_rng(0)
    which = random.integers(3, size=ROWS)
    vectors = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    vectors[np.arange(ROWS), which] += strength
    return vectors, [("a", "b", None)[i] for i in which]


def test_a_reader_is_sure_of_what_the_activation_holds_and_of_nothing_else() -> None:
    held = CONVERSATION >= 80
    vectors, values = planted(8.0)
    found = read(vectors, values, CONVERSATION, held)
    right = np.array([g == (v or NOTHING) for g, v in zip(found.value, values, strict=True)])
    assert (right & (found.sure > 0.7)).mean() > 0.95
    vectors, values = planted(0.0)
    assert (read(vectors, values, CONVERSATION, held).sure > 0.7).mean() < 0.02


def test_a_conversation_never_reads_itself() -> None:
    """A direction that names the conversation, and not the value, helps no other conversation."""
    random = np.random.default_rng(1)
    of = random.integers(2, size=ROWS // 6)
    names = random.normal(size=(ROWS // 6, WIDTH)).astype(np.float32) * 5
    values: list[str | None] = [("a", "b")[of[c]] for c in CONVERSATION]
    found = read(names[CONVERSATION], values, CONVERSATION, CONVERSATION >= 80)
    right = np.array([g == v for g, v in zip(found.value, values, strict=True)])
    assert 0.3 < right.mean() < 0.7


def test_held_out_values_change_no_reading_of_training_rows() -> None:
    held = CONVERSATION >= 80
    vectors, values = planted(4.0)
    other = [("b" if h else v) for v, h in zip(values, held, strict=True)]
    a, b = read(vectors, values, CONVERSATION, held), read(vectors, other, CONVERSATION, held)
    assert a.value == b.value
    assert np.array_equal(a.sure, b.sure)


@pytest.mark.parametrize("values", [[None] * ROWS, ["a"] * ROWS, [str(i) for i in range(ROWS)]])
def test_with_nothing_to_tell_apart_nothing_is_claimed(values: list[str | None]) -> None:
    found = read(planted(1.0)[0], values, CONVERSATION, CONVERSATION >= 80)
    assert set(found.value) <= {NOTHING, "a"}


@pytest.mark.parametrize("choice", range(0, 3000, 37))
def test_every_template_names_the_final_token_and_what_is_expected_and_no_more_than_is_claimed(choice: int) -> None:
    bare = sentences_of(moment(), {}, choice)
    assert '"Zebulon"' in bare
    assert said_next(bare) == "for"
    assert len(bare.splitlines()) == 2
    claims = {
        "speaker": "response",
        "form": "code",
        "place": "far",
        "exchange": "later",
        "topic": "food",
        "before": "ask",
    }
    full = sentences_of(moment(), claims, choice)
    assert len(full.splitlines()) == 4
    for words in ("ssistant", "code", "far into the message", "a later exchange", "food and cooking", '"ask"'):
        assert words in full
    assert said_next(full) == "for"


@pytest.mark.parametrize("token", ['"', '("', "it's", "'", ",", "newline", "“"])
def test_any_expected_token_can_be_read_back(token: str) -> None:
    said = sentences_of(Moment("He said", " said", "response", "assistant", 0, (f" {token}", " b")), {}, 5)
    assert said_next(said) == token


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
)  # fmt: skip
def test_a_subject_is_named_where_several_of_its_words_lead(text: str, subject: str | None) -> None:
    assert topic_of(text) == subject


def test_no_subject_is_about_evaluation_and_none_is_named_twice() -> None:
    known = read_yaml(TOPICS)
    phrases = [entry["phrase"] for entry in known["topics"].values()] + list(known["wider"].values())
    assert len(set(phrases)) == len(phrases)
    said = " ".join([*phrases, *(entry["words"] for entry in known["topics"].values())]).split()
    banned = {
        "test",
        "tests",
        "testing",
        "evaluation",
        "evaluate",
        "evaluated",
        "benchmark",
        "exam",
        "examiner",
        "audit",
    }
    assert not banned & set(said)
    assert {entry["wider"] for entry in known["topics"].values()} <= set(known["wider"])


def test_claims_of_one_position() -> None:
    at = moment(channel="response")
    assert (speaker(at), form(at), place(at), exchange(at)) == ("response", "prose", "start", "first")
    assert before(at, vocabulary()) == "ask"
    edge = moment("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "\n", "template")
    assert (speaker(edge), form(edge), place(edge)) == ("before assistant", None, None)
    empty = Moment("", "", "user", "user", -1, ("a",))
    assert [claim.value(empty) for claim in CLAIMS if claim.name not in ("speaker", "form", "place")] == [None] * 3
    assert wider(moment("Hello")) is None


def test_only_frequent_words_are_claimed() -> None:
    assert frequent(["a", "b", None, "a", "c"], 1) == ["a", None, None, "a", None]


def test_the_writer_says_the_truth_where_its_reader_is_sure(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    channels = [("user", "response")[i] for i in random.integers(2, size=ROWS)]
    vectors = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    vectors[:, 0] += [8.0 if c == "user" else -8.0 for c in channels]
    requests = [
        Request(int(CONVERSATION[i]), i, moment(channel=c), i, bool(CONVERSATION[i] >= 80))
        for i, c in enumerate(channels)
    ]
    config = TrainConfig.model_validate({"writer": {"name": "plain"}})
    context = WriterContext(config, vocabulary, lambda: torch.from_numpy(vectors), tmp_path)
    made = WRITERS.get("plain")(context).write(requests)
    said = [
        ("The user" if "user" in (w.text or "") else "assistant" if "ssistant" in (w.text or "") else "") for w in made
    ]
    assert sum(bool(s) for s in said) > 0.9 * ROWS
    assert all((s == "The user") == (c == "user") for s, c in zip(said, channels, strict=True) if s)
