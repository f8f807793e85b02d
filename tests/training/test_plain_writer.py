"""The writer of plain sentences makes a claim only where an activation holds it, and then says the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nla_eval.measure.sentences import said_in
from nla_eval.training.config import TrainConfig
from nla_eval.training.explanations.readable import NOTHING, read
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
    said = [said_in(w.text or "").claims.get("speaker") for w in made]
    assert sum(s is not None for s in said) > 0.9 * ROWS
    assert all(s == c for s, c in zip(said, channels, strict=True) if s is not None)
