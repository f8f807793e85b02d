"""Near-duplicates share a family; prompts that are alike only by chance do not."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from numpy.typing import NDArray

from nla_eval.dataset import families
from nla_eval.dataset.families import Families, families_of
from nla_eval.transcript import Arm, Provenance, Transcript

WORDS = [f"word{number}" for number in range(500)]
SYSTEM = "You are the assistant of an airline. " + "Follow the policy to the letter. " * 200


def chat(id: str, asked: str, family: str = "", system: str = "", answer: str = "yes") -> Transcript:
    messages: list[ChatMessage] = [ChatMessageSystem(content=system)] if system else []
    messages += [ChatMessageUser(content=asked), ChatMessageAssistant(content=answer)]
    return Transcript(
        id=id, messages=messages, arm=Arm.DEPLOYMENT, suite="s", family=family or id, provenance=Provenance(source="x")
    )


def prompt(seed: int, words: int = 200) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def test_copies_share_a_family_whatever_was_answered() -> None:
    found = families_of([chat("a", "Hi there!", answer="yes"), chat("b", "hi  THERE", answer="no"), chat("c", "Bye")])
    assert (found.exact, found.near, dict(found.sizes())) == (1, 0, {"a": 2, "c": 1})


@pytest.mark.parametrize(("changed", "together"), [(0, True), (4, True), (100, False), (200, False)])
def test_nearly_the_same_prompt_is_one_family(changed: int, together: bool) -> None:
    first, other = prompt(1), prompt(2)
    second = [*first[:-changed], *other[-changed:]] if changed else first
    found = families_of([chat("a", " ".join(first)), chat("b", " ".join(second))])
    assert (len(found.sizes()) == 1) == together


@pytest.mark.parametrize(("tasks", "words"), [(30, 100), (200, 300), (30, 3000)])
@pytest.mark.parametrize("place", ["before", "around", "after"])
def test_tasks_that_share_four_fifths_of_their_words_stay_apart(tasks: int, words: int, place: str) -> None:
    template = prompt(1, words * 4 // 5)
    cut = {"before": len(template), "around": len(template) // 2, "after": 0}[place]
    own = [prompt(2 + n, words // 5) for n in range(tasks)]
    chats = [chat(str(n), " ".join([*template[:cut], *task, *template[cut:]])) for n, task in enumerate(own)]
    assert len(families_of(chats).sizes()) == tasks


def test_prompts_that_open_with_one_long_text_are_no_copies() -> None:
    opening = " ".join(prompt(1, 3000))
    found = families_of([chat(str(n), f"{opening} {' '.join(prompt(2 + n, 1000))}") for n in range(5)])
    assert (found.exact, len(found.sizes())) == (0, 5)


def triples(words: list[str]) -> NDArray[np.uint32]:
    return families._triples(families._words(" ".join(words)))


@pytest.mark.parametrize("shared", [40, 150, 600, 4000])
def test_the_sketch_estimates_the_similarity_of_word_triples(shared: int) -> None:
    rng = random.Random(shared)
    vocabulary = [f"v{number}" for number in range(5000)]
    for _ in range(5):
        template = rng.choices(vocabulary, k=shared)
        both = [[*template, *rng.choices(vocabulary, k=shared // 5)] for _ in range(2)]
        first, second = ({tuple(words[at : at + 3]) for at in range(len(words) - 2)} for words in both)
        exact = len(first & second) / len(first | second)
        made = [families._bins(families._mixed(triples(words))) for words in both]
        assert families._similarity(*made) == pytest.approx(exact, abs=0.07)


def test_a_common_system_prompt_makes_no_family() -> None:
    chats = [chat(str(n), " ".join(prompt(n)), system=SYSTEM) for n in range(5)]
    assert len(families_of(chats).sizes()) == 5


def test_families_of_the_data_stay_together_and_grow_by_near_duplicates() -> None:
    chats = [chat("a", "one two three four", "f"), chat("b", "five six seven", "f"), chat("c", "five six seven", "g")]
    found = families_of(chats)
    assert [found.of(c) for c in chats] == ["f", "f", "f"]
    counted = Families(merge=False)
    for c in chats:
        counted.add(c)
    assert (counted.exact, [counted.of(c) for c in chats]) == (1, ["f", "f", "g"])


def test_text_without_blanks_between_words_is_compared_by_its_characters() -> None:
    first = "我想知道今天天气怎么样请告诉我明天会不会下雨因为我要去公园散步然后和朋友一起吃饭"
    found = families_of([chat("a", first), chat("b", first[:-1] + "饮"), chat("c", "请问怎么去火车站我需要买票")])
    assert sorted(found.sizes().values()) == [1, 2]


@given(st.text(st.characters(codec="ascii"), max_size=40))
@settings(deadline=None)
def test_ascii_has_the_words_it_has_beside_any_other_text(text: str) -> None:
    beside = families_of([chat("a", f"{text} é"), chat("b", f"{text.replace('_', ' ').upper()}\té")])
    alone = families_of([chat("a", text), chat("b", text.replace("_", " ").upper())])
    assert alone.exact == (beside.exact if any(char.isalnum() for char in text) else 0)
    assert beside.exact == 1


def test_prompts_without_a_word_are_not_taken_for_copies() -> None:
    assert len(families_of([chat("a", "?"), chat("b", "...")]).sizes()) == 2


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_families_are_exactly_the_copies_of_unlike_prompts_in_any_order(seeds: list[int]) -> None:
    chats = [chat(f"{at}", " ".join(prompt(seed, 60))) for at, seed in enumerate(seeds)]
    found = families_of(chats)
    groups: dict[str, set[int]] = {}
    for c, seed in zip(chats, seeds, strict=True):
        groups.setdefault(found.of(c), set()).add(seed)
    assert all(len(held) == 1 for held in groups.values())
    assert len(groups) == len(set(seeds))


@pytest.mark.parametrize("words", [["one"], ["one", "two"], ["the", "quick", "brown", "fox"], prompt(3, 9000)])
def test_a_print_is_what_datasketch_makes_of_the_triples(words: list[str]) -> None:
    made = families._blank().copy()
    made.update_batch(triples(words).tolist())
    assert (families._print(families._mixed(triples(words))).hashvalues == made.hashvalues).all()


def test_small_steps_do_not_chain_prompts_that_are_not_alike() -> None:
    steps, words = [], prompt(1)
    for step in range(12):
        steps.append(chat(str(step), " ".join(words)))
        words = [*words[10:], *prompt(100 + step, 10)]
    found = families_of(steps)
    assert found.of(steps[1]) == "0"
    assert found.of(steps[-1]) != "0"
    assert max(found.sizes().values()) <= 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Write a poem about rice", "Write a poem about rice please"),
        (
            "You will answer with one word only. What is the capital of France",
            "You will answer with one word only. What is the capital of Spain",
        ),
        ("hi", "hi there"),
    ],
)
def test_short_prompts_are_joined_where_they_are_copies_only(first: str, second: str) -> None:
    assert len(families_of([chat("a", first), chat("b", second)]).sizes()) == 2
    assert len(families_of([chat("a", first), chat("b", first.upper())]).sizes()) == 1


def test_the_same_short_words_under_other_system_prompts_are_other_prompts() -> None:
    chats = [chat(str(n), "Begin.", system=" ".join(prompt(n // 2))) for n in range(6)]
    found = families_of(chats)
    assert [found.of(c) for c in chats] == ["0", "0", "2", "2", "4", "4"]


def test_the_largest_families_are_shown_with_their_first_words() -> None:
    found = families_of([chat("a", "Say hello."), chat("b", "Begin."), chat("c", "Begin."), chat("d", "Begin.")])
    assert [(f.name, f.transcripts, f.opening) for f in found.largest(2)] == [
        ("b", 3, "Begin."),
        ("a", 1, "Say hello."),
    ]
