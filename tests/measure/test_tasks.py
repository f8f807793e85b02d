"""Tasks are solved from the right explanations, and at chance from shuffled and empty ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nla_eval.measure.figures import auc, balanced_share, difference, figure
from nla_eval.measure.readers import hits_of_texts, scores_of_texts, scores_of_vectors
from nla_eval.measure.recurrence import recurrence
from nla_eval.measure.tasks import Read, followed, held_out_tasks, retrieved, said_next, suffix_choice
from tests.training.planted_reader import planted_rows

TOPICS = ("bread oven flour", "engine wheel brake", "violin melody chord", "tax invoice ledger", "orbit planet comet")
CONTEXTS = [f"{TOPICS[i % 5]} number{i // 5} speaks of {TOPICS[i % 5]} again" for i in range(80)]


def read(texts: list[str]) -> tuple[object, Read]:
    held = planted_rows(texts, CONTEXTS, per_conversation=1)
    return held, Read(texts, held.others(), held.contexts)


def test_the_continuation_is_found_from_an_explanation_that_names_it() -> None:
    held, by = read([f"someone about {c}" for c in CONTEXTS])
    found = suffix_choice(held, by).readers  # type: ignore[arg-type]
    assert found["explanation"].value > 0.8
    assert found["shuffled"].value < 0.35
    assert found["empty"].value == pytest.approx(0.1)


def test_the_suffix_probe_is_at_chance_where_activations_say_nothing_and_above_it_where_they_do() -> None:
    texts = [f"someone about {c}" for c in CONTEXTS]
    held, by = read(texts)
    noise = np.random.default_rng(1).standard_normal((80, 64)).astype(np.float32)
    blind = suffix_choice(replace(held, activations=noise), by).readers["probe"]  # type: ignore[type-var]
    assert blind.low is not None
    assert blind.low <= 0.1 <= float(blind.high or 1)
    assert suffix_choice(held, by).readers["probe"].value > 0.15  # type: ignore[arg-type]


def test_too_few_conversations_are_named_as_the_reason() -> None:
    held = planted_rows(["a", "b", "c", "d"], CONTEXTS[:4], per_conversation=2)
    tasks, why = held_out_tasks(held, Read(["a"] * 4, held.others(), held.contexts), {"explanation": held.activations})
    assert "conversations" in why["suffix_choice"]
    assert "conversations" in why["topic"]
    assert {t.name for t in tasks} >= {"retrieval", "next_token"}


def test_topic_and_speaker_are_read_with_whole_conversations_held_out() -> None:
    texts = [f"{'user' if i % 2 else 'assistant'} on {TOPICS[i % 5]}" for i in range(80)]
    held, by = read(texts)
    tasks, why = held_out_tasks(held, by, {"explanation": held.activations})  # type: ignore[attr-defined, arg-type]
    assert not why
    found = {t.name: t for t in tasks}
    assert found["speaker"].readers["explanation"].value == pytest.approx(1.0)
    assert found["speaker"].readers["empty"].value == pytest.approx(0.5)
    assert found["topic"].readers["explanation"].value > 2 * found["topic"].readers["shuffled"].value


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("now: to; next: the / a / an\nafter: go to", "the"),
        ("next: , / . / and", ","),
        ('Final token "first" strongly expecting "body" or "clue".', "body"),
        ('Final token "was" expects a participle: "killed".', "killed"),
        ("nothing is named", None),
    ],
)
def test_the_next_token_that_an_explanation_names(text: str, token: str | None) -> None:
    assert said_next(text) == token


@pytest.mark.parametrize(("context", "token"), [("to be or not to", "be"), ("never seen before", None), ("", None)])
def test_a_text_only_reader_repeats_what_followed(context: str, token: str | None) -> None:
    assert followed(context) == token


def test_retrieval_leaves_out_rows_that_fill_no_group() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 16)).astype(np.float32)
    hits, rows = retrieved(vectors, vectors, 128)
    assert len(rows) == 256
    assert hits.mean() == 1.0
    assert retrieved(vectors[::-1].copy(), vectors, 128)[0].mean() < 0.05


def test_a_label_that_only_the_group_carries_cannot_be_read() -> None:
    groups = np.repeat(np.arange(20), 6)
    texts = [f"wording{g} wording{g} again" for g in groups]
    labels = ["odd" if g % 2 else "even" for g in groups]
    hits = hits_of_texts(texts, labels, groups)
    assert balanced_share(hits, labels, groups).value < 0.7


def test_scores_of_equal_texts_are_chance_and_of_marked_ones_perfect() -> None:
    positive = np.arange(96) % 2 == 0
    groups = np.repeat(np.arange(12), 8)
    marked = [f"filler{i} {'graded' if p else 'garden'}" for i, p in enumerate(positive)]
    assert auc(scores_of_texts([""] * 96, positive, groups), positive, groups).value == pytest.approx(0.5)
    assert auc(scores_of_texts(marked, positive, groups), positive, groups).value == pytest.approx(1.0)
    vectors = np.random.default_rng(0).standard_normal((96, 8)).astype(np.float32)
    vectors[:, 0] += 6 * positive
    assert auc(scores_of_vectors(vectors, positive, groups), positive, groups).value > 0.95


def test_the_interval_widens_when_positions_of_a_conversation_move_together() -> None:
    values = np.repeat([0.0, 1.0] * 10, 20)
    together = figure(values, np.repeat(np.arange(20), 20))
    apart = figure(values, np.arange(400))
    assert together.value == apart.value == 0.5
    assert together.low is not None
    assert apart.low is not None
    assert float(together.high or 0) - together.low > 3 * (float(apart.high or 0) - apart.low)


def test_a_difference_has_no_bounds_and_few_clusters_have_no_interval() -> None:
    found = difference(np.array([2.0, 3.0, 4.0]), np.arange(3))
    assert found.value == 3.0
    assert found.interval == (None, None)


def test_recurring_words_are_counted_once_a_window_and_format_words_never() -> None:
    window = ["subject: harbour and boats"] * 8 + ["subject: castle walls"] * 2
    other = ["subject: cooking pasta tonight"] * 10
    found = recurrence([window, other], ["boats lie in the harbour", "boiling pasta"])
    often = next(r for r in found if r.least == 7)
    assert often.supported.n == 5
    assert often.supported.value == pytest.approx(3 / 5)
    assert next(r for r in found if r.least == 2).supported.value == 0.0
    assert often.by_chance.value == 0.0
