"""The writer of plain sentences makes a claim only where an activation holds it, and then says the truth."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nla_eval.measure.sentences import said_in, sentences_of
from nla_eval.training.config import AVConfig, TrainConfig
from nla_eval.training.explanations.readable import OTHER, Rows, read, worth_making
from nla_eval.training.models.av import lessons
from nla_eval.training.writers import WRITERS, Request, WriterContext
from nla_eval.training.writers.plain import frequent
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


def rows(vectors: np.ndarray) -> Rows:
    return Rows(vectors, CONVERSATION, CONVERSATION >= 80)


def test_a_claim_is_made_where_the_activation_holds_it_and_nowhere_else() -> None:
    vectors, values = planted(8.0)
    decided = np.array([v is not None for v in values])
    made = worth_making(rows(vectors), values, 0.85)
    assert made[decided].mean() > 0.95
    assert not made[~decided].any()
    vectors, values = planted(0.0)
    assert worth_making(rows(vectors), values, 0.85).mean() < 0.1


def test_where_half_of_the_rows_hold_it_about_half_of_the_claims_are_made() -> None:
    vectors, values = planted(8.0)
    blank = np.random.default_rng(3).random(ROWS) < 0.5
    vectors[blank] = np.random.default_rng(4).normal(size=(int(blank.sum()), WIDTH))
    decided = np.array([v is not None for v in values])
    made = worth_making(rows(vectors), values, 0.85)
    assert made[decided & ~blank].mean() > 0.9
    assert made[decided & blank].mean() < 0.5


def test_a_conversation_never_reads_itself() -> None:
    """A direction that names the conversation, and not the value, helps no other conversation."""
    random = np.random.default_rng(1)
    of = random.integers(2, size=ROWS // 6)
    names = random.normal(size=(ROWS // 6, WIDTH)).astype(np.float32) * 5
    values: list[str | None] = [("a", "b")[of[c]] for c in CONVERSATION]
    guess, _ = read(rows(names[CONVERSATION]), values)
    assert 0.3 < np.mean([g == v for g, v in zip(guess, values, strict=True)]) < 0.7


def test_held_out_values_change_nothing_of_training_rows() -> None:
    vectors, values = planted(4.0)
    other = [("b" if h else v) for v, h in zip(values, CONVERSATION >= 80, strict=True)]
    train = CONVERSATION < 80
    a, b = (worth_making(rows(vectors), v, 0.85) for v in (values, other))
    assert np.array_equal(a[train], b[train])


@pytest.mark.parametrize("values", [[None] * ROWS, ["a"] * ROWS, [str(i) for i in range(ROWS)], [OTHER] * ROWS])
def test_with_nothing_to_tell_apart_nothing_is_claimed(values: list[str | None]) -> None:
    assert not worth_making(rows(planted(1.0)[0]), values, 0.85).any()


def test_only_frequent_words_are_claimed() -> None:
    assert frequent(["a", "b", OTHER, "a", "c"], 1) == ["a", OTHER, OTHER, "a", OTHER]


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
    said = [said_in(w.text or "").claims.get("speaker") for w in made]
    assert sum(s is not None for s in said) > 0.9 * ROWS
    assert all(s == c for s, c in zip(said, channels, strict=True) if s is not None)


class Letters:
    """A tokenizer whose tokens are characters."""

    def __call__(self, text: str, **_: object) -> dict[str, list[Any]]:
        return {"input_ids": [ord(c) for c in text], "offset_mapping": [(i, i + 1) for i in range(len(text))]}

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


@pytest.mark.parametrize(("share", "cut"), [(0.0, 0), (0.25, 2), (0.5, 6), (0.6, 9)])
def test_first_lines_alone_are_the_share_asked_for_and_do_not_end(share: float, cut: int) -> None:
    tokenizer = Letters()
    texts = [f"Row {i} speaks.\nIt ends so." for i in range(6)]
    made = lessons(texts, AVConfig(samples=1, first_line_share=share), tokenizer)
    assert [lesson.row for lesson in made[:6]] == list(range(6))
    assert len(made) == 6 + cut
    for lesson in made[:6]:
        assert tokenizer.decode(lesson.ids) == f"<explanation>\n{texts[lesson.row]}\n</explanation>"
    for lesson in made[6:]:
        assert tokenizer.decode(lesson.ids) == f"<explanation>\nRow {lesson.row} speaks."
    if cut >= 6:
        assert {lesson.row for lesson in made[6:]} == set(range(6))
    assert {weight for lesson in made for weight in lesson.weights} == {1.0}


def test_what_a_claim_decides_weighs_as_much_as_asked_for() -> None:
    text = sentences_of('n"', ["or", "o"], {"speaker": "user", "place": "far", "before": "This", "topic": "food"}, 0)
    made = lessons([text], AVConfig(samples=1, first_line_share=0.5, claim_weight=4.0), Letters())
    for lesson in made:
        parts = groupby(zip(lesson.ids, lesson.weights, strict=True), key=lambda pair: pair[1])
        heavy = ["".join(chr(token) for token, _ in part) for weight, part in parts if weight == 4.0]
        assert heavy[:2] == ["The user is writing.", "far into the message"]
        assert heavy[2:] == ([] if lesson is made[1] else ["food and cooking", "'n\"'", '"This"'])
